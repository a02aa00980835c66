cwlVersion: v1.2
class: Workflow
doc: Three commands, each of which waits for the other two.
requirements:
  ScatterFeatureRequirement: {}
inputs:
  words: string[]
outputs:
  said:
    type: File[]
    outputSource: say/said
steps:
  say:
    in: {word: words}
    scatter: word
    out: [said]
    run:
      class: CommandLineTool
      requirements:
        ResourceRequirement: {coresMin: 0, ramMin: 1, tmpdirMin: 1, outdirMin: 1}
      baseCommand:
        - sh
        - -c
        - |
          touch "$MARK/$0"
          until test -e "$MARK/one" -a -e "$MARK/two" -a -e "$MARK/three"; do sleep 0.1; done
          echo "$0 from ${NESTING:-nowhere}"
      inputs:
        word: {type: string, inputBinding: {position: 1}}
      stdout: said.txt
      outputs:
        said: stdout
