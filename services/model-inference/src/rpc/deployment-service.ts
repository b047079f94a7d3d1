import { deployments as contract } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { ExplainRoute } from '../app/explain-route.ts';
import type { ExposureReport } from '../app/exposure-report.ts';

/** The wire of DeploymentService. */
export function deploymentService(parts: {
  readonly explainRoute: ExplainRoute;
  readonly exposures: (deployment: string, version: string) => Promise<ExposureReport>;
}): ServiceBinding {
  return bindService(contract.DeploymentServiceService, {
    explainRoute: (request) => parts.explainRoute(request),
    getExposures: async ({ deployment, deploymentVersion }) => {
      const report = await parts.exposures(deployment, deploymentVersion);
      return {
        deploymentVersion: report.deploymentVersion,
        groups: report.groups.map(({ arms, movedUnits, ...group }) => ({
          ...group,
          movedUnits: BigInt(movedUnits),
          arms: arms.map((arm) => ({
            ...arm,
            units: BigInt(arm.units),
            firstUs: BigInt(arm.firstUs),
            lastUs: BigInt(arm.lastUs),
          })),
        })),
      };
    },
  });
}
