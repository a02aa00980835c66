cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'if test ! -e "$MARK/tried"; then touch "$MARK/tried"; exit 1; fi; echo "$0 from ${NESTING:-nowhere}"']
inputs:
  word: {type: string, inputBinding: {position: 1}}
stdout: said.txt
outputs:
  said: stdout
