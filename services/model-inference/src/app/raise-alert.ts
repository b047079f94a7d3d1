/** Something began, or is over; resolves once the alert is durable. */
export type RaiseAlert = (alert: {
  readonly kind: string;
  /** The same for what belongs together. */
  readonly dedupKey: string;
  readonly message: string;
  readonly isOver: boolean;
}) => Promise<void>;
