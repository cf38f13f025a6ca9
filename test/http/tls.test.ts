import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as plainRequest, type RequestOptions } from 'node:http'
import { request as tlsRequest, type RequestOptions as TlsOptions } from 'node:https'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { IncomingMessage } from 'node:http'
import { startApiProcess } from '../harness/api-process'
import { selfSigned } from '../harness/certificate'
import { until } from '../harness/client'
import { startSystem, type System } from '../harness/system'

const root = resolve(__dirname, '..', '..')
const publicUrl = 'https://otp.example.com'
let system: System
let folder: string
const certFile = () => join(folder, 'cert.pem')
const keyFile = () => join(folder, 'key.pem')

beforeAll(async () => {
  system = await startSystem({ withWorker: false })
  folder = mkdtempSync(join(tmpdir(), 'otpilot-tls-'))
})
afterAll(async () => {
  await system.stop()
  rmSync(folder, { recursive: true, force: true })
})

function writePair({ cert, key }: { cert: string; key: string }): void {
  writeFileSync(certFile(), cert)
  writeFileSync(keyFile(), key)
}

async function ask(
  request: typeof plainRequest | typeof tlsRequest,
  options: RequestOptions & TlsOptions,
  body?: string,
) {
  const call = request({ host: '127.0.0.1', agent: false, ...options })
  call.end(body)
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}

describe('an API with a certificate of its own', () => {
  let api: Awaited<ReturnType<typeof startApiProcess>>
  const first = selfSigned({ serial: 1 })
  const second = selfSigned({ serial: 2 })
  beforeAll(async () => {
    writePair(first)
    api = await startApiProcess(system, {
      OTPILOT_ENV: 'production',
      OTPILOT_URL: publicUrl,
      TLS_CERT: certFile(),
      TLS_KEY: keyFile(),
    })
  })
  afterAll(() => api.stop())

  const tls = (options: TlsOptions, body?: string) =>
    ask(tlsRequest, { port: api.port, ca: [first.cert, second.cert], ...options }, body)
  const plain = (options: RequestOptions, body?: string) =>
    ask(plainRequest, { port: api.port, ...options }, body)
  const serialNow = async () => {
    const socket = connectTls({ port: api.port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber
  }
  const protocolOf = async (socket: TLSSocket) => {
    try {
      await once(socket, 'secureConnect')
      return socket.getProtocol()
    } finally {
      socket.destroy()
    }
  }

  test('answers by https and tells browsers to come so only', async () => {
    const { status, headers } = await tls(
      {
        path: '/otp/search',
        method: 'POST',
        headers: { authorization: `Bearer ${system.key}`, 'content-type': 'application/json' },
      },
      '{}',
    )
    expect(status).toBe(200)
    expect(headers['strict-transport-security']).toMatch(/^max-age=31536000/)
  })

  test('takes TLS 1.2 and 1.3, and nothing older', async () => {
    const open = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
      protocolOf(
        connectTls({
          port: api.port,
          host: '127.0.0.1',
          ca: first.cert,
          minVersion: version,
          maxVersion: version,
          ciphers: 'ALL:@SECLEVEL=0',
        }),
      )
    expect(await open('TLSv1.2')).toBe('TLSv1.2')
    expect(await open('TLSv1.3')).toBe('TLSv1.3')
    await expect(open('TLSv1.1')).rejects.toThrow(/protocol version|ECONNRESET/)
  })

  test.each([
    '/otp/send',
    '/otp/verify',
    '/webhooks/otp-status',
    '/docs',
    '/openapi.json',
    '/nothing',
  ])('refuses %s in the clear, with a key or without', async (path) => {
    const headers = { authorization: `Bearer ${system.key}`, 'x-forwarded-proto': 'https' }
    for (const given of [headers, {}]) {
      const answer = await plain({ path, method: 'POST', headers: given }, '{}')
      expect(answer.status).toBe(403)
      expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
      expect(JSON.parse(answer.body)).toMatchObject({ error_code: 'HTTPS_REQUIRED', status: 403 })
    }
  })

  test('answers probes in the clear and by https', async () => {
    expect((await plain({ path: '/healthz' })).status).toBe(200)
    expect([200, 503]).toContain((await plain({ path: '/readyz' })).status)
    expect((await tls({ path: '/healthz' })).status).toBe(200)
  })

  test('takes a renewed certificate without a restart, and none that does not fit its key', async () => {
    expect(await serialNow()).toBe('01')
    writeFileSync(certFile(), second.cert)
    // The files are looked at every five seconds.
    await new Promise((resolve) => setTimeout(resolve, 6_000))
    expect(await serialNow()).toBe('01')
    writeFileSync(keyFile(), second.key)
    await until(async () => (await serialNow()) === '02', { what: 'the new certificate' })
    expect((await tls({ path: '/healthz' })).status).toBe(200)
  })

  test('stops in order', async () => {
    expect(await api.stop()).toBe(0)
  })
})

describe('an API behind a proxy', () => {
  let api: Awaited<ReturnType<typeof startApiProcess>>
  beforeAll(async () => {
    api = await startApiProcess(system, {
      OTPILOT_ENV: 'production',
      OTPILOT_URL: publicUrl,
      OTPILOT_TRUST_PROXY: '127.0.0.1',
      OTPILOT_PLAIN_HTTP: 'redirect',
    })
  })
  afterAll(() => api.stop())
  const call = (options: RequestOptions, body?: string) =>
    ask(plainRequest, { port: api.port, ...options }, body)

  test('believes the proxy that the client came by https', async () => {
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' }
    expect((await call({ path: '/docs', headers })).status).toBe(200)
    expect((await call({ path: '/otp/search', method: 'POST', headers }, '{}')).status).toBe(401)
  })

  test.each([
    ['GET', '/docs?a=1', '/docs?a=1'],
    ['POST', '/otp/send', '/otp/send'],
    ['POST', '/nothing', '/nothing'],
    ['GET', '//evil.example/x', '/evil.example/x'],
    ['GET', 'http://evil.example/x?y', '/x?y'],
    ['GET', '/\\evil.example', '/evil.example'],
  ])('sends %s %s to https, at its own address', async (method, path, location) => {
    for (const headers of [{}, { 'x-forwarded-proto': 'https, http' }, { host: 'evil.example' }]) {
      const answer = await call({ method, path, headers }, method === 'POST' ? '{}' : undefined)
      expect([answer.status, answer.headers.location]).toEqual([308, publicUrl + location])
      expect(answer.body).toBe('')
    }
  })

  test('answers probes', async () => {
    expect((await call({ path: '/healthz' })).status).toBe(200)
  })
})

describe('what cannot be used is told at the start, in a sentence', () => {
  const starts = async (env: Record<string, string>) => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'api/main.ts'], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        OTPILOT_ENV: 'production',
        OTPILOT_URL: publicUrl,
        DATABASE_URL: system.databaseUrl,
        OTPILOT_KEYS_FILE: system.keysFile,
        PORT: '0',
        ...env,
      },
    })
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    return { said, code: code as number | null }
  }
  const both = () => ({ TLS_CERT: certFile(), TLS_KEY: keyFile() })
  const cases: [string, () => Record<string, string>, RegExp][] = [
    [
      'neither certificate nor proxy',
      () => ({}),
      /TLS_CERT and TLS_KEY, or OTPILOT_TRUST_PROXY: required/,
    ],
    [
      'a certificate without a key',
      () => ({ TLS_CERT: certFile() }),
      /TLS_CERT, TLS_KEY: one is of no use/,
    ],
    [
      'trusting everybody',
      () => ({ OTPILOT_TRUST_PROXY: 'true' }),
      /OTPILOT_TRUST_PROXY: must be a number/,
    ],
    ['another word', () => ({ ...both(), OTPILOT_PLAIN_HTTP: 'allow' }), /OTPILOT_PLAIN_HTTP: /],
    [
      'a file that is not there',
      () => ({ ...both(), TLS_CERT: '/nowhere/cert.pem' }),
      /^TLS_CERT: \/nowhere\/cert\.pem cannot be read \(ENOENT\)\.$/m,
    ],
    [
      'a file without a certificate',
      () => {
        writePair({ ...selfSigned(), cert: 'nothing' })
        return both()
      },
      /^TLS_CERT: .*cert\.pem holds no PEM certificate\.$/m,
    ],
    [
      'a file without a key',
      () => {
        writePair({ ...selfSigned(), key: 'nothing' })
        return both()
      },
      /^TLS_KEY: .*key\.pem holds no PEM private key/m,
    ],
    [
      'the key of another certificate',
      () => {
        writePair({ cert: selfSigned().cert, key: selfSigned().key })
        return both()
      },
      /^TLS_KEY: .*key\.pem is not the key of the certificate/m,
    ],
  ]
  test.each(cases)('%s', async (_name, env, sentence) => {
    const { said, code } = await starts(env())
    expect(said).toMatch(sentence)
    expect(said).not.toMatch(/^\s+at /m)
    expect(code).toBe(1)
  })
})
