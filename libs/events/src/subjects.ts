/** The subjects of design §7. */
export const subjects = {
  ingest: (source: string) => `millrace.ingest.${source}`,
  events: (source: string, partition: number) => `millrace.events.${source}.${partition}`,
  quarantine: (source: string, reason: string) => `millrace.quarantine.${source}.${reason}`,
  changes: (kind: string) => `millrace.changes.${kind}`,
  features: (view: string) => `millrace.features.${view}`,
  served: (view: string) => `millrace.served.${view}`,
  alerts: (severity: string) => `millrace.alerts.${severity}`,
  predictions: (model: string) => `millrace.predictions.${model}`,
  aliases: (model: string) => `millrace.aliases.${model}`,
  rollouts: (deployment: string) => `millrace.rollouts.${deployment}`,
  audit: (kind: string, name: string) => `millrace.audit.${kind}.${name}`,
  exposures: (deployment: string) => `millrace.exposures.${deployment}`,
  feedback: (model: string) => `millrace.feedback.${model}`,
} as const;
