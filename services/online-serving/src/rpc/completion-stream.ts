/**
 * Works on up to `inFlightMax` requests at once and answers each as soon as it is done. An answer counts as in flight until it is taken: a
 * caller that sends without reading fills no memory, because the next request is not read and HTTP/2 flow control holds it back.
 * `work` must not reject. A failure of the requests is thrown after the answers to those before it.
 */
export async function* completionStream<Request, Response>(
  requests: AsyncIterable<Request>,
  inFlightMax: number,
  work: (request: Request) => Promise<Response>,
): AsyncIterable<Response> {
  const done: Response[] = [];
  let inFlight = 0;
  let requestsEnd: { readonly failure?: unknown } | undefined;
  let stopped = false;
  let wakeReader = () => {};
  let wakeWriter = () => {};

  async function pump(): Promise<void> {
    try {
      for await (const request of requests) {
        inFlight++;
        void work(request).then((answer) => {
          done.push(answer);
          wakeWriter();
        });
        while (inFlight >= inFlightMax && !stopped)
          await new Promise<void>((resolve) => {
            wakeReader = resolve;
          });
        if (stopped) return;
      }
      requestsEnd = {};
    } catch (failure) {
      requestsEnd = { failure };
    } finally {
      wakeWriter();
    }
  }

  void pump();
  try {
    while (!requestsEnd || inFlight > 0) {
      const taken = done.splice(0);
      for (const answer of taken) {
        yield answer;
        inFlight--;
        wakeReader();
      }
      if (taken.length === 0)
        await new Promise<void>((resolve) => {
          wakeWriter = resolve;
        });
    }
    if ('failure' in requestsEnd) throw requestsEnd.failure;
  } finally {
    stopped = true;
    wakeReader();
  }
}
