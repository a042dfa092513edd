/** One unary gRPC call through node:http2: an instrument of the benchmarks that shares no code with what is measured. */
import { connect } from 'node:http2'

export async function unary(endpoint: string, path: string, message: Uint8Array): Promise<Uint8Array> {
  const session = connect(`http://${endpoint}`)
  try {
    return await new Promise((resolve, reject) => {
      session.on('error', reject)
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      const chunks: Buffer[] = []
      let status = 'no grpc-status'
      const look = (headers: Record<string, unknown>): void => {
        const { 'grpc-status': code, 'grpc-message': message } = headers
        if (typeof code === 'string') status = `${code} ${typeof message === 'string' ? message : ''}`
      }
      stream.on('response', look)
      stream.on('trailers', look)
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('error', reject)
      stream.on('end', () => {
        if (status.startsWith('0 ')) resolve(Buffer.concat(chunks).subarray(5))
        else reject(new Error(`${path} at ${endpoint}: ${status}`))
      })
      const prefix = Buffer.alloc(5)
      prefix.writeUInt32BE(message.length, 1)
      stream.end(Buffer.concat([prefix, message]))
    })
  } finally {
    session.close()
  }
}
