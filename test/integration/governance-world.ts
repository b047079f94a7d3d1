import { registry } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { connect } from '@millrace/rpc';
import { parseYamlDefinitions } from '@millrace/sdk';
import { createTestMesh, type RunningService } from '@millrace/testkit';

/** Real NATS and governance, asked as the command asks it. No file here is a test. */
export type GovernanceWorld = Awaited<ReturnType<typeof openGovernanceWorld>>;

export interface SetOptions {
  readonly file?: string;
  readonly removals?: readonly string[];
  readonly allowBreaking?: boolean;
}

export async function openGovernanceWorld() {
  const mesh = await createTestMesh({ stores: ['nats'] });
  const clients: { close(): void }[] = [];
  const ask = ({ grpc }: RunningService) => {
    const client = connect(registry.RegistryServiceService, grpc, { defaultTimeoutMs: 20_000 });
    clients.push(client);
    return {
      client,
      plan: (yaml: string, { file = 'test.yaml', removals = [] }: SetOptions = {}) =>
        client.plan({ definitions: parseYamlDefinitions(yaml, file), removals: [...removals] }),
      apply: (yaml: string, { file = 'test.yaml', removals = [], allowBreaking = false }: SetOptions = {}) =>
        client.apply({ definitions: parseYamlDefinitions(yaml, file), removals: [...removals], allowBreaking }),
      /** `<kind>/<name>` → version of what is current. */
      async versions(): Promise<Readonly<Record<string, string>>> {
        const { registered } = await client.listDefinitions({ kind: registry.DefinitionKind.UNSPECIFIED });
        return Object.fromEntries(
          registered.map(({ definition, version }) => [`${definition?.spec?.$case}/${definition?.name}`, version]),
        );
      },
      async shown(kind: keyof typeof registry.DefinitionKind, name: string, version = '') {
        const answer = await client.getDefinition({ kind: registry.DefinitionKind[kind], name, version });
        if (answer.registered === undefined) throw new Error('an answer without a definition');
        return answer.registered;
      },
    };
  };
  try {
    const service = await mesh.service('governance');
    return {
      mesh,
      service,
      ask,
      ...ask(service),
      async close() {
        for (const client of clients) client.close();
        await mesh.close();
      },
    };
  } catch (thrown) {
    await mesh.close();
    throw thrown;
  }
}

/** `ADDED FEATURE_VIEW spend` for each change, in the order of the answer. */
export function actions(changes: readonly registry.Change[]): string[] {
  return changes.map(
    ({ kind, name, action }) =>
      `${nameOf(registry.ChangeAction, action)} ${nameOf(registry.DefinitionKind, kind)} ${name}`,
  );
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string | undefined {
  return Object.entries(names).find(([, each]) => each === value)?.[0];
}

/** The actions of a `shop`, in their order. */
export const everyKind = (action: string, name: string) =>
  ['ENTITY', 'SOURCE', 'FEATURE_VIEW', 'FEATURE_SERVICE'].map((kind) => `${action} ${kind} ${name}`);

/** How a call was refused: the status on the wire, the reason in its ErrorInfo, and what it says. */
export async function refusal(call: Promise<unknown>) {
  const thrown = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof MeshError)) throw new Error(`not refused: ${String(thrown)}`);
  const { code: status } = thrown.cause as { readonly code: number };
  return { status, reason: thrown.reason, metadata: thrown.metadata, lines: thrown.message.split('\n') };
}

/** An entity, a source, a view and a service of one name. */
export function shop(name: string, { window = '1h', owner = 'tests', key = 'user' } = {}): string {
  return `
kind: entity
name: ${name}
owner: ${owner}
join_keys: { ${key}: STRING }
---
kind: source
name: ${name}
owner: ${owner}
fields: { ${key}: STRING, amount: DOUBLE, ok: BOOL }
---
kind: feature_view
name: ${name}
owner: ${owner}
entity: ${name}
source: ${name}
features:
  total: { function: sum, field: amount, window: ${window} }
  events: { function: count, window: ${window} }
---
kind: feature_service
name: ${name}
owner: ${owner}
features: ['${name}:total', '${name}:events']
`;
}

/** A model that the service of that name feeds, with outcomes from the source of that name. */
export function model(name: string): string {
  return `
kind: model
name: ${name}
uri: model.onnx
sha256: '${'0'.repeat(64)}'
feature_service: ${name}
input: { name: x, columns: [{ feature: ${name}__total }] }
outcome: { source: ${name}, key: user, label: ok }
`;
}
