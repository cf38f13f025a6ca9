import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { closeServer, listen } from './listening'

export interface Recorded {
  method: string | undefined
  url: string | undefined
  headers: IncomingHttpHeaders
  body: string
}
interface Reply {
  status?: number
  headers?: Record<string, string>
  body?: string
}

/** An HTTP service that writes down what it is asked, and answers as it is told. */
export async function startRecorder(reply: (call: Recorded) => Reply = () => ({})) {
  const calls: Recorded[] = []
  const server: Server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const { method, url, headers } = req
      const call = { method, url, headers, body: Buffer.concat(chunks).toString('utf8') }
      calls.push(call)
      const { status = 200, headers: said = {}, body = '' } = answer(call)
      res.writeHead(status, said).end(body)
    })
  })
  let answer = reply
  const url = await listen(server)
  return {
    url,
    calls,
    answerWith: (next: (call: Recorded) => Reply) => {
      answer = next
      calls.length = 0
    },
    close: () => closeServer(server),
  }
}
