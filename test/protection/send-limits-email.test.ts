import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { failNotStarted } from '../../db/requests/starts'
import { deleteOutlived } from '../../db/upkeep/cleanup'
import { clientOf, type TestClient, until } from '../harness/client'
import { startSystem, type System } from '../harness/system'
import { shown } from '../harness/visitor'

let system: System
let backEnd: TestClient

beforeAll(async () => {
  system = await startSystem()
  backEnd = clientOf(system)
})
afterAll(() => system?.stop())
beforeEach(() => {
  system.policy.protection = { overrides: [] }
})

describe('limits of e-mail', () => {
  const mail = async (email: string, given: Record<string, unknown> = {}, client = backEnd) =>
    shown(await client.call('POST', '/otp/send', { email, ...given }))
  let lastDomain = 0
  const freshDomain = () => `d${++lastDomain}.example.com`
  const mails = async (addresses: readonly string[], client = backEnd) => {
    const words: string[] = []
    for (const address of addresses) words.push(await mail(address, {}, client))
    return words
  }
  const many = <T>(count: number, of: (index: number) => T): T[] =>
    Array.from({ length: count }, (_, index) => of(index))
  const limited = '429 RATE_LIMITED'

  test('one mailbox has one limit, however its address is written', async () => {
    const domain = freshDomain()
    expect(await mails(many(25, (n) => `victim+${n}@${domain}`))).toEqual([
      ...Array<string>(3).fill('200 sent'),
      ...Array<string>(22).fill(limited),
    ])
    expect(await mails([`victim@${domain}`, `VICTIM+x@${domain}`, `other@${domain}`])).toEqual([
      ...[limited, limited, '200 sent'],
    ])
    expect(
      await mails(['v.ic@gmail.com', 'vic@gmail.com', 'vi.c+1@googlemail.com', 'v.i.c@gmail.com']),
    ).toEqual(['200 sent', '200 sent', '200 sent', limited])
  })

  test('but every address is a recipient of its own, to be checked by as it was typed', async () => {
    const domain = freshDomain()
    await mails([`ama+a@${domain}`, `ama+b@${domain}`])
    const codeOf = async (address: string) =>
      (await until(async () => (await backEnd.inbox(address))[0])).code
    const code = await codeOf(`ama+a@${domain}`)
    const check = async (email: string) =>
      (await backEnd.verify({ email, code })).body.error_code ?? 'verified'
    expect(await codeOf(`ama+b@${domain}`)).not.toBe(code)
    expect(await check(`ama@${domain}`)).toBe('NO_ACTIVE_REQUEST')
    expect(await check(`ama+b@${domain}`)).toBe('INVALID_CODE')
    expect(await check(`ama+a@${domain}`)).toBe('verified')
  })

  test('a send that is not started gives the mailbox its place back, and an erasure forgets it', async () => {
    const domain = freshDomain()
    await mails([`ama+a@${domain}`, `ama+b@${domain}`])
    const { body } = await backEnd.call<{ request_id: string }>('POST', '/otp/send', {
      email: `ama+c@${domain}`,
    })
    await system.db.many(
      sql`update otp_requests set workflow_started_at = null where id = ${body.request_id}`,
    )
    expect(await failNotStarted(system.db, body.request_id, 'test')).toBe(true)
    expect(await mails([`ama+d@${domain}`, `ama+e@${domain}`])).toEqual(['200 sent', limited])
    const admin = clientOf(system, system.operatorKey)
    await admin.call('POST', '/admin/erasures', { email: `ama+a@${domain}` })
    expect(await mail(`ama+e@${domain}`)).toBe('200 sent')
  })

  test('a domain that no code came back from has a cap over all apps, until one does', async () => {
    system.policy.protection = { overrides: [], domainCap: [{ max: 4, seconds: 3_600 }] }
    const domain = freshDomain()
    await createApp(system.db, { id: 'other-mailer', name: 'Other' })
    const key = { appId: 'other-mailer', environment: 'staging' as const, scopes: ['send'] }
    const other = clientOf(system, (await createApiKey(system.db, key)).key)
    expect(await mails([`a@${domain}`, `b@${domain}`])).toEqual(['200 sent', '200 sent'])
    expect(await mails([`c@${domain}`, `d@${domain}`], other)).toEqual(['200 sent', '200 sent'])
    const refused = await other.call('POST', '/otp/send', { email: `e@${domain}` })
    expect([refused.status, refused.body]).toMatchObject([
      429,
      { error_code: 'RATE_LIMITED', detail: expect.stringContaining('domain') },
    ])
    expect(await mails([`e@${domain}`, `x@${freshDomain()}`])).toEqual([limited, '200 sent'])
    const { code } = await until(async () => (await backEnd.inbox(`a@${domain}`))[0])
    await backEnd.verify({ email: `a@${domain}`, code })
    await until(async () => (await mail(`f@${domain}`)) === '200 sent')
    expect(await mails(many(6, (n) => `user${n}@${domain}`))).not.toContain(limited)
    // A test key's word is none about live mail.
    const names = await system.db.many<{ name: string }>(sql`select name from email_domains`)
    expect(names.map(({ name }) => name.split('|')[1])).toEqual(names.map(() => 'staging'))
    await system.db.many(sql`update email_domains set verified_at = now() - interval '31 days'`)
    expect(await mail(`late@${domain}`)).toBe(limited)
    await deleteOutlived(system.db, 100)
    expect(await system.db.many(sql`select from email_domains`)).toEqual([])
  })

  test('parallel mails to a new domain never share its last place', async () => {
    system.policy.protection = { overrides: [], domainCap: [{ max: 4, seconds: 3_600 }] }
    const domain = freshDomain()
    const words = await Promise.all(many(20, (n) => mail(`u${n}@${domain}`)))
    expect(words.filter((word) => word === '200 sent')).toHaveLength(4)
  })
})
