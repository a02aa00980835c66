cwlVersion: v1.2
class: Workflow
inputs:
  started: string
outputs: {}
steps:
  wait:
    in: {started: started}
    out: []
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'touch "$MARK/$0"; exec sleep 1000']
      inputs:
        started: {type: string, inputBinding: {position: 1}}
      outputs: {}
