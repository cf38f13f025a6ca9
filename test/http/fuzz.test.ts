import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc, { isSearch, seed } from '../harness/properties'
import { createApp } from '../../db/apps/apps'
import { createApiKey } from '../../db/apps/api-keys'
import {
  type Answer,
  type Call,
  callsOf,
  createJudge,
  type Document,
  gather,
  make,
  type Target,
  targetsOf,
} from '../harness/openapi-fuzz'
import { startSystem, type System } from '../harness/system'

const callsEach = Number(process.env.OTPILOT_FUZZ_CALLS ?? 40)
/** For one operation of a search: a slow machine makes fewer calls. `npm test` makes the same ones everywhere. */
const searchMs = 80 * callsEach

let system: System
let document: Document
let judge: ReturnType<typeof createJudge>

beforeAll(async () => {
  system = await startSystem()
  document = (await (await fetch(`${system.url}/openapi.json`)).json()) as Document
  judge = createJudge(document)
})
afterAll(() => system.stop())

/** Keys of every kind, and their app: what one operation does to its keys must not spoil the next one's calls. */
async function freshKeys(name: string): Promise<string[]> {
  await createApp(system.db, { id: name, name })
  const make = async (given: { appId: string | null; scopes: string[]; publishable?: boolean }) =>
    (await createApiKey(system.db, { environment: 'staging', ...given })).key
  const scopes = ['send', 'verify', 'read']
  return Promise.all([
    make({ appId: name, scopes }),
    make({ appId: name, scopes }),
    make({ appId: name, scopes: [...scopes, 'admin'] }),
    make({ appId: null, scopes: ['admin'] }),
    make({ appId: name, scopes: ['read'] }),
    make({ appId: name, scopes: ['send', 'verify'], publishable: true }),
  ])
}

/** The call that the document itself shows, if it shows one; where a path has ids, with ids that were seen before. */
function exampleOf(
  { method, path: pattern, operation }: Target,
  [key = '']: string[],
  ids: ReadonlyMap<string, string[]>,
): [Call][] {
  const path = pattern.replace(/\{(\w+)\}/g, (place, name: string) => ids.get(name)?.[0] ?? place)
  if (path.includes('{')) return []
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  if (method.toUpperCase() === 'GET') return [[{ path, headers }]]
  const example = operation.requestBody?.content['application/json']?.example
  if (example === undefined || path !== pattern) return []
  return [[{ path, headers, body: Buffer.from(JSON.stringify(example)) }]]
}

test('no call leads to a 5xx, or to an answer that the document does not describe', async () => {
  const ids = new Map<string, string[]>()
  const answered = new Map<string, Set<number>>()
  const findings: string[] = []
  const targets = targetsOf(document)
  expect(targets.length).toBeGreaterThan(15)
  for (const [index, target] of targets.entries()) {
    const { operationId } = target.operation
    // Only calls that change an app need one of their own; the others find each other's requests.
    const keys = await freshKeys(target.path.startsWith('/admin/') ? `fuzz${index}` : 'fuzz')
    const calls = callsOf(target, { schemas: document.components.schemas, keys, ids })
    const examples = exampleOf(target, keys, ids)
    const statuses = new Set<number>()
    answered.set(operationId, statuses)
    const finding = await fc.check(
      fc.asyncProperty(calls, async (call) => {
        const answer = await make(system.url, target.method, call)
        statuses.add(answer.status)
        gather(ids, answer.text)
        const fault = judge(target, answer)
        if (fault) throw new Error(fault)
      }),
      {
        seed: seed + index,
        numRuns: callsEach,
        examples,
        ...(isSearch ? { interruptAfterTimeLimit: searchMs } : { endOnFailure: true }),
      },
    )
    if (finding.failed) {
      const call = finding.counterexample?.[0]
      const shown = call && { ...call, body: call.body?.toString() }
      const error = finding.errorInstance
      findings.push(
        `${target.method} ${target.path} ${error instanceof Error ? error.message : String(error)}\n${JSON.stringify(shown)?.slice(0, 2_000)}`,
      )
    }
  }
  expect(findings).toEqual([])
  // A fuzzer that only ever meets refusals proves little.
  const succeeded = [...answered].filter(([, statuses]) => [...statuses].some((s) => s < 300))
  expect(succeeded.map(([id]) => id)).toEqual(
    expect.arrayContaining([
      'sendOtp',
      'verifyOtp',
      'searchOtp',
      'putPreference',
      'readOtp',
      'health',
    ]),
  )
}, 600_000)

test('no path answers a method that the document does not name', async () => {
  for (const [path, methods] of Object.entries(document.paths)) {
    const place = path.replace(/\{\w+\}/g, 'x')
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      if (method.toLowerCase() in methods) continue
      // One path may be hidden by another: `/otp/search` is no request id.
      const { status, headers } = await make(system.url, method, { path: place, headers: {} })
      expect([method, path, status]).toEqual([method, path, 405])
      expect(headers.allow).not.toContain(method)
    }
  }
})

describe('the judge', () => {
  const target = (): Target => {
    const found = targetsOf(document).find(({ operation }) => operation.operationId === 'health')
    if (!found) throw new Error('There is no such operation.')
    return found
  }
  const good: Answer = {
    status: 200,
    headers: { 'content-type': 'application/json; charset=utf-8', 'x-trace-id': 'x' },
    text: '{"status":"ok"}',
  }
  test('lets a described answer pass', () => {
    expect(judge(target(), good)).toBeUndefined()
  })
  test.each<[string, Partial<Answer>, RegExp]>([
    ['a 500', { status: 500 }, /answered 500/],
    ['another status', { status: 204, text: '' }, /answered 204, which is not described/],
    [
      'another type',
      { headers: { ...good.headers, 'content-type': 'text/html' } },
      /is text\/html/,
    ],
    ['another body', { text: '{"status":"fine"}' }, /does not fit its schema/],
    ['a body that is no object', { text: '[]' }, /does not fit its schema/],
    ['no trace', { headers: { 'content-type': 'application/json' } }, /lacks X-Trace-Id/],
  ])('finds %s', (_name, change, finding) => {
    expect(judge(target(), { ...good, ...change })).toMatch(finding)
  })
})
