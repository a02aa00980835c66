# Part of the scripts from which commands inherit, for any POSIX shell: variables of the environment that have the names
# of variables of the script. A variable that was exported stays so when it is assigned.

set_aside() { # NAME...
    anydeploy_kept=
    for anydeploy_name; do
        eval "[ -z \"\${$anydeploy_name+x}\" ] || {
            anydeploy_kept=\"\$anydeploy_kept $anydeploy_name\"
            anydeploy_kept_$anydeploy_name=\$$anydeploy_name
            unset $anydeploy_name
        }"
    done
}

# After this, the script has lost its own.
give_back() {
    for anydeploy_name in $anydeploy_kept; do
        eval "export $anydeploy_name=\"\$anydeploy_kept_$anydeploy_name\""
    done
}
