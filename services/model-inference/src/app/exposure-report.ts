import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { splitP } from '@millrace/rollouts';

/** Units that one rule, or rollout, or neither, sent to one model version; of those sent to several, no model. */
export interface ArmUnits {
  readonly rule: string;
  readonly rollout: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly units: number | string;
  readonly firstUs: number | string;
  readonly lastUs: number | string;
}

/** What the log says of a version of a deployment. STORE_UNAVAILABLE. */
export type ReadExposures = (deployment: string, version: string) => Promise<readonly ArmUnits[]>;

export interface ExposureArm {
  readonly model: string;
  readonly modelVersion: string;
  readonly units: number;
  /** 0 where it changed over time. */
  readonly expectedShare: number;
  readonly firstUs: number;
  readonly lastUs: number;
}

export interface ExposureGroup {
  readonly rule: string;
  readonly rollout: string;
  readonly arms: readonly ExposureArm[];
  readonly movedUnits: number;
  /** Always valid; 1 where shares changed over time. */
  readonly sampleRatioP: number;
}

export interface ExposureReport {
  readonly deploymentVersion: string;
  readonly groups: readonly ExposureGroup[];
}

interface RegisteredDeployment {
  readonly version: string;
  readonly spec: definitions.Deployment;
}

export function createExposureReport(deps: {
  readonly read: ReadExposures;
  readonly current: (name: string) => RegisteredDeployment | undefined;
  readonly version: (name: string, version: string) => Promise<RegisteredDeployment | undefined>;
}): (deployment: string, version: string) => Promise<ExposureReport> {
  return async (deployment, wanted) => {
    const current = deps.current(deployment);
    const found = wanted === '' || wanted === current?.version ? current : await deps.version(deployment, wanted);
    if (!found)
      throw new MeshError(
        'UNKNOWN_DEPLOYMENT',
        `there is no deployment "${deployment}"${wanted === '' ? '' : ` of version "${wanted}"`}`,
        { deployment, version: wanted },
      );
    if (found.spec.unit === '')
      throw new MeshError(
        'INVALID_ARGUMENT',
        `deployment "${deployment}" declares no unit, so it has no exposure log; say whom its requests are for, as in unit: keys.customer`,
        { deployment },
      );
    return {
      deploymentVersion: found.version,
      groups: groupsOf(found.spec, await deps.read(deployment, found.version)),
    };
  };
}

export function groupsOf(spec: definitions.Deployment, rows: readonly ArmUnits[]): ExposureGroup[] {
  const groups = new Map<string, ArmUnits[]>();
  for (const row of rows) {
    const id = `${row.rule}|${row.rollout}`;
    groups.set(id, [...(groups.get(id) ?? []), row]);
  }
  return [...groups.values()].map((of) => {
    const { rule, rollout } = of[0] as ArmUnits;
    const targets = rule === '' ? spec.targets : (spec.rules.find(({ name }) => name === rule)?.targets ?? []);
    // an alias may have moved, and a rollout's shares grow: there is nothing to compare with
    const isFixed = rollout === '' && targets.every(({ modelVersion }) => !modelVersion.startsWith('@'));
    const total = targets.reduce((sum, { weight }) => sum + weight, 0);
    const shares = new Map<string, number>();
    for (const { model, modelVersion, weight } of targets)
      shares.set(`${model}@${modelVersion}`, (shares.get(`${model}@${modelVersion}`) ?? 0) + weight / total);
    const arms = of.flatMap(({ model, modelVersion, units, firstUs, lastUs }): ExposureArm[] => {
      if (model === '') return [];
      const expectedShare = isFixed ? (shares.get(`${model}@${modelVersion}`) ?? 0) : 0;
      const [first, last] = [Number(firstUs), Number(lastUs)];
      return [{ model, modelVersion, units: Number(units), expectedShare, firstUs: first, lastUs: last }];
    });
    // a target that no unit came to counts as well
    const absent = [...shares].filter(([id]) => !arms.some((arm) => `${arm.model}@${arm.modelVersion}` === id));
    const counts = [...arms.map(({ units }) => units), ...absent.map(() => 0)];
    const expected = [...arms.map(({ expectedShare }) => expectedShare), ...absent.map(([, share]) => share)];
    const movedUnits = of.filter(({ model }) => model === '').reduce((sum, { units }) => sum + Number(units), 0);
    return { rule, rollout, arms, movedUnits, sampleRatioP: isFixed ? splitP(counts, expected) : 1 };
  });
}
