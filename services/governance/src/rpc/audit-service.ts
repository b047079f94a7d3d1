import { audit } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { ListAudit } from '../app/audit.ts';

/** The wire of AuditService. */
export function auditService({ listAudit }: { readonly listAudit: ListAudit }): ServiceBinding {
  return bindService(audit.AuditServiceService, {
    listAudit: ({ limit, ...filter }, { signal }) => listAudit(filter, limit, signal),
  });
}
