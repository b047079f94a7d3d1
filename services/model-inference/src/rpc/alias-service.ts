import { aliases as contract } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { Aliases } from '../app/aliases.ts';
import type { AliasRecord } from '../domain/alias-record.ts';

/** The wire of AliasService. */
export function aliasService(aliases: Aliases): ServiceBinding {
  return bindService(contract.AliasServiceService, {
    setAliases: async ({ model, targets, by, reason }) => {
      const wanted = targets.map(({ alias, version }) => [alias, version] as const);
      return { aliases: toWire(await aliases.set(model, wanted, { by, reason })) };
    },
    rollbackAlias: async ({ model, alias, by, reason }) => ({
      aliases: toWire(await aliases.rollback(model, alias, { by, reason })),
    }),
    deleteAlias: async ({ model, alias, by, reason }) => ({
      aliases: toWire(await aliases.remove(model, alias, { by, reason })),
    }),
    listAliases: ({ model }) => {
      const records = model === '' ? aliases.all() : [aliases.record(model)];
      return { models: records.map(toWire).filter((of) => of.aliases.length > 0) };
    },
    getAliasHistory: ({ model, alias }) => ({
      changes: aliases
        .record(model)
        .changes.filter(({ moves }) => alias === '' || moves.some((move) => move.alias === alias))
        .map((change) => ({ ...change, changedUs: BigInt(change.changedUs), moves: [...change.moves] })),
    }),
  });
}

function toWire({ model, aliases }: AliasRecord): contract.ModelAliases {
  const names = Object.keys(aliases).sort();
  return {
    model,
    aliases: names.flatMap((alias) => {
      const found = aliases[alias];
      if (!found) return [];
      const { versions, changedUs, by } = found;
      const [previousVersion, version] = versions.length > 1 ? versions.slice(-2) : ['', versions[0]];
      return [
        {
          alias,
          version: version ?? '',
          previousVersion: previousVersion ?? '',
          changedUs: BigInt(changedUs),
          by,
        },
      ];
    }),
  };
}
