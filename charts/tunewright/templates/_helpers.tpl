{{- define "tunewright.labels" -}}
app.kubernetes.io/name: tunewright
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tunewright.selector" -}}
app.kubernetes.io/name: tunewright
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tunewright.container" -}}
{{- dict "cpu" .cpu "memory" .memory "memory_limit" .memoryLimit | toJson -}}
{{- end }}

{{/* What the operator's Settings are parsed from (operator/tunewright/build/settings.py). */}}
{{- define "tunewright.settings" -}}
{{- $settings := dict
  "trainer_image" .Values.images.trainer
  "server_image" .Values.images.server
  "server_device" .Values.server.device
  "image_pull_policy" .Values.images.pullPolicy
  "image_pull_secrets" .Values.images.pullSecrets
  "access_mode" .Values.storage.accessMode
  "trainer_env" .Values.trainer.env
  "server_env" .Values.server.env
  "server_args" .Values.server.extraArgs
  "cpu_stage" (include "tunewright.container" .Values.defaults.cpuStage | fromJson)
  "train_stage" (include "tunewright.container" .Values.defaults.trainStage | fromJson)
  "server" (include "tunewright.container" .Values.defaults.server | fromJson)
-}}
{{- if .Values.hubEndpoint }}{{ $_ := set $settings "hub_endpoint" .Values.hubEndpoint }}{{ end -}}
{{- $settings | toJson -}}
{{- end }}

{{/* Rules of egress. DNS is wherever the cluster has it: a service, or an address of the node. */}}
{{- define "tunewright.dns" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}

{{- define "tunewright.downloads" -}}
{{- if .Values.networkPolicy.workloads.downloadsTo -}}
- to: {{- toYaml .Values.networkPolicy.workloads.downloadsTo | nindent 4 }}
{{- else -}}
# Everywhere but to link-local addresses and the metadata services of clouds, which trainer-image/tunewright_trainer/endpoints.py refuses as well.
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [169.254.0.0/16, 100.100.100.200/32, 168.63.129.16/32, 192.0.0.192/32]
    - ipBlock:
        cidr: ::/0
        except: ["fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"]
{{- end }}
{{- end }}

{{/* Just what the operator uses: test_permissions.py of tests/api and of tests/e2e compare these rules with the API server's audit log, both ways. No verb on secrets. */}}
{{- define "tunewright.rules" -}}
- apiGroups: [tunewright.dev]
  resources: [finetunejobs, modelmerges, evaluations, inferenceservices]
  verbs: [list, watch]
- apiGroups: [tunewright.dev]
  # ttlSecondsAfterFinished. Specs are never written.
  resources: [finetunejobs, modelmerges, evaluations]
  verbs: [delete]
- apiGroups: [tunewright.dev]
  resources: [finetunejobs/status, modelmerges/status, evaluations/status, inferenceservices/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  # get: to say that a configmap:// location or its key does not exist.
  resources: [configmaps]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
