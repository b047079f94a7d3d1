import { commonConfig, type Env } from '@millrace/runtime';

export type GovernanceConfig = ReturnType<typeof loadConfig>;

/** The environment, parsed once. README.md has the table. */
export function loadConfig(env: Env) {
  return commonConfig(env);
}
