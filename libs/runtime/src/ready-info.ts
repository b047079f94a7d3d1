/** Where a service listens, as its ready line says. */
export interface ReadyInfo {
  readonly grpc?: string;
  readonly http?: string;
}
