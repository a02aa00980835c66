cwlVersion: v1.2
class: Workflow
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
      baseCommand: [sh, -c, 'echo "$0 from ${NESTING:-nowhere}"']
      inputs:
        word: {type: string, inputBinding: {position: 1}}
      stdout: said.txt
      outputs:
        said: stdout
