"""Proofs about deployment managers: all small scopes in every order, and histories explained by a sequential model."""
