/** Something that was decided, for people who ask later. */
export type AuditNote = {
  readonly atUs: number;
  readonly kind: 'source' | 'quarantine';
  /** The source's. */
  readonly name: string;
  readonly action: string;
  /** A person's name, or what decided by itself. */
  readonly by: string;
  readonly reason: string;
  readonly detail: Readonly<Record<string, unknown>>;
  /** The same for all processes that notice the same. */
  readonly onceKey?: string | undefined;
};

export type AuditTrail = (note: AuditNote) => Promise<void>;
