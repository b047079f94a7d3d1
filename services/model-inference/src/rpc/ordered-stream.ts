/**
 * Works on up to `inFlightMax` requests at once and answers in the order of the requests. The next request is read when there is room, so
 * that flow control holds back a caller who does not read. `work` must not reject; a failure of the requests is thrown after the answers
 * to those before it.
 */
export async function* orderedStream<Request, Response>(
  requests: AsyncIterable<Request>,
  inFlightMax: number,
  work: (request: Request) => Promise<Response>,
): AsyncGenerator<Response> {
  const queue: Promise<Response>[] = [];
  let end: { readonly failure?: unknown } | undefined;
  let stopped = false;
  let wakeReader = () => {};
  let wakeWriter = () => {};

  async function pump(): Promise<void> {
    try {
      for await (const request of requests) {
        queue.push(work(request));
        wakeWriter();
        while (queue.length >= inFlightMax && !stopped)
          await new Promise<void>((resolve) => {
            wakeReader = resolve;
          });
        if (stopped) return;
      }
      end = {};
    } catch (failure) {
      end = { failure };
    } finally {
      wakeWriter();
    }
  }

  void pump();
  try {
    for (;;) {
      const next = queue[0];
      if (next) {
        yield await next;
        queue.shift();
        wakeReader();
        continue;
      }
      if (end) break;
      await new Promise<void>((resolve) => {
        wakeWriter = resolve;
      });
    }
    if ('failure' in end) throw end.failure;
  } finally {
    stopped = true;
    wakeReader();
  }
}
