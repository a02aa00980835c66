cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {dockerPull: image}
baseCommand: [sh, -c, 'echo "$0 from ${NESTING:-nowhere}"']
inputs:
  word: {type: string, inputBinding: {position: 1}}
stdout: said.txt
outputs:
  said: stdout
