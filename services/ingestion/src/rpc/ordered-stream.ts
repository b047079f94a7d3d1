import { BoundedQueue } from '@millrace/kernel';

/**
 * Works on up to `inFlightMax` requests at once and answers in their order. While that many are unanswered the next request is
 * not read, so HTTP/2 flow control holds the caller back.
 */
export async function* orderedStream<Request, Response>(
  requests: AsyncIterable<Request>,
  inFlightMax: number,
  work: (request: Request) => Promise<Response>,
): AsyncIterable<Response> {
  const answers = new BoundedQueue<Promise<Response>>({
    name: 'stream-answers',
    capacity: inFlightMax,
    onFull: 'wait',
  });
  let failure: unknown;
  const pumping = (async () => {
    try {
      for await (const request of requests) {
        const answer = work(request);
        // It is awaited in its turn; until then a rejection must not count as unhandled.
        answer.catch(() => {});
        await answers.push(answer);
      }
    } catch (cause) {
      failure = cause;
    } finally {
      answers.close();
    }
  })();
  try {
    for await (const answer of answers) yield await answer;
    await pumping;
    if (failure !== undefined) throw failure;
  } finally {
    answers.close();
  }
}
