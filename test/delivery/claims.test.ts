import { describe, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { type ListMatch, judgeLists, recipientValues } from '../../core/protection/lists'
import { createApp } from '../../db/apps/apps'
import { raiseBlock } from '../../db/protection/blocks'
import { listDigests, putListEntry, removeListEntry } from '../../db/protection/lists'
import type { NewClaim } from '../../db/delivery/claim'
import {
  acceptance,
  answer,
  claim,
  claimed,
  openLive,
  plan,
  refusal,
  rig,
  stepOf,
  verdictOf,
} from '../harness/claims'
import { sendInput } from '../harness/seed'

// What the claim's statement decides by itself, whatever a workflow asks it for.

describe('what is claimed', () => {
  test.each<[string, Partial<NewClaim>]>([
    ['a provider that is not the step’s', { provider: 'three' }],
    ['a channel that is not the step’s', { channel: 'whatsapp' }],
    ['the channel of another step', { channel: 'voice' }],
    ['a step that there is not', { step: 7 }],
    ['a step below the first', { step: -1 }],
    ['a resend that nobody asked for', { resendSeq: 1 }],
    ['a test account, for a live request', { isTestAccount: true }],
  ])('%s is not: nothing is planned so', async (_, given) => {
    const requestId = await openLive()
    expect(await verdictOf(requestId, given)).toBe('not_planned')
    expect(await verdictOf(requestId)).toBe('claimed')
  })

  test('a live account, for a test request, is not either', async () => {
    const { requestId } = await rig.requests.open({ plan })
    expect(await verdictOf(requestId)).toBe('not_planned')
    expect(await verdictOf(requestId, { isTestAccount: true })).toBe('claimed')
  })

  test('by an account that this process does not know is, and by the rule of the plan', async () => {
    const own = [stepOf('sms', { success: 'verified', successBy: { two: 'accepted' } })]
    for (const [provider, success] of [
      ['one', 'verified'],
      ['two', 'accepted'],
    ] as const) {
      const { attemptId } = await claimed(await openLive({ plan: own }), {
        ...{ provider, isTestAccount: null, isMessage: false },
      })
      const row = await rig.requests.db.one(
        sql`select success from attempts where id = ${attemptId}`,
      )
      expect(row).toEqual({ success })
    }
  })

  test('a step is sent once, with its failover', async () => {
    const requestId = await openLive()
    await answer(await claimed(requestId), refusal)
    await answer(await claimed(requestId, { tryNo: 2 }), refusal)
    await answer(await claimed(requestId, { sendNo: 2, provider: 'two' }), acceptance)
    for (const provider of ['one', 'two'])
      expect(await claim(requestId, { sendNo: 3, provider })).toMatchObject({
        ...{ verdict: 'served', number: 3, heldBy: 'two', isAccepted: true },
      })
    expect(await verdictOf(requestId, { sendNo: 3, step: 1, channel: 'voice' })).toBe('claimed')
  })

  test('a call in doubt is sent again once, where the step’s policy says so', async () => {
    const requestId = await openLive()
    await answer(await claimed(requestId), { state: 'in_doubt' })
    await answer(await claimed(requestId, { sendNo: 2, provider: 'two' }), { state: 'in_doubt' })
    expect(await claim(requestId, { sendNo: 3 })).toMatchObject({
      ...{ verdict: 'served', number: 2, isAccepted: false },
    })
    const advancing = await openLive({ plan: [stepOf('sms', { onDoubt: 'advance' })] })
    await answer(await claimed(advancing), { state: 'in_doubt' })
    expect(await verdictOf(advancing, { sendNo: 2, provider: 'two' })).toBe('served')
  })

  test('each recorded resend is served once, by its own step or one of the plan', async () => {
    const requestId = await openLive()
    await answer(await claimed(requestId), acceptance)
    const resendSeq = await rig.requests.askedAgain(requestId)
    expect(await verdictOf(requestId, { sendNo: 2, resendSeq: resendSeq + 1 })).toBe('not_planned')
    expect(await verdictOf(requestId, { sendNo: 2, resendSeq, channel: 'whatsapp' })).toBe(
      'not_planned',
    )
    await answer(await claimed(requestId, { sendNo: 2, resendSeq }), acceptance)
    expect(await verdictOf(requestId, { sendNo: 3, resendSeq })).toBe('served')
    // On another channel neither.
    expect(await verdictOf(requestId, { sendNo: 3, resendSeq, step: 1, channel: 'voice' })).toBe(
      'served',
    )
    const rows = await rig.requests.db.many(
      sql`select resend_seq as seq from attempts where request_id = ${requestId} order by number`,
    )
    expect(rows).toEqual([{ seq: 0 }, { seq: 1 }])
  })

  test('a run of an older version, which does not say what it serves, serves the same', async () => {
    const requestId = await openLive()
    const old = { resendSeq: undefined }
    await answer(await claimed(requestId, old), acceptance)
    expect(await verdictOf(requestId, { ...old, sendNo: 2 })).toBe('served')
    await rig.requests.askedAgain(requestId)
    await answer(await claimed(requestId, { ...old, sendNo: 2 }), acceptance)
    expect(await verdictOf(requestId, { ...old, sendNo: 3 })).toBe('served')
  })

  test('of twenty runs that ask at once for one step, one gets it', async () => {
    const requestId = await openLive()
    const verdicts = await Promise.all(
      Array.from({ length: 20 }, (_, n) => verdictOf(requestId, { sendNo: n + 1 })),
    )
    expect(verdicts.sort()).toEqual(['claimed', ...Array<string>(19).fill('served')])
  })
})

describe('somebody who was blocked or listed since the send', () => {
  const listed = (
    verdict: 'block' | 'allow',
    kind: 'phone_number' | 'prefix' | 'country',
    value: string,
  ) =>
    putListEntry(rig.requests.db, rig.requests.keyring, {
      ...{ appId: 'app', kind, value, verdict, actor: 'test' },
      length: kind === 'prefix' ? value.length - 1 : 0,
    })
  const digests = (value: string) =>
    listDigests(rig.requests.keyring, { appId: 'app', kind: 'phone', value, country: 'GH' })
  const guarded = (given: Partial<ReturnType<typeof sendInput>['protection']> = {}) => ({
    ...{ ...sendInput().protection, mode: 'block' as const, ...given },
  })
  const blockCountry = (appId: string, asks: 'block' | 'challenge' = 'block') =>
    raiseBlock(rig.requests.db, {
      ...{ appId, environment: 'production', label: null },
      finding: {
        ...{ rule: 'country_velocity', scope: 'country', asks, count: 9, limit: 1 },
        name: `production|${appId}|country|GH`,
      },
    })

  test('gets no further message: by a list, until the entry goes', async () => {
    const recipient = rig.requests.freshNumber()
    const requestId = await openLive({ recipient })
    const next = { ...{ sendNo: 2, step: 1 }, channel: 'voice' as const }
    const given = { ...next, listDigests: digests(recipient.value) }
    await answer(await claimed(requestId), acceptance)
    const entry = await listed('block', 'phone_number', recipient.value)
    expect(await verdictOf(requestId, given)).toBe('blocked')
    if (entry === 'full') throw new Error(entry)
    await removeListEntry(rig.requests.db, { id: entry.id, appId: 'app', actor: 'test' })
    expect(await verdictOf(requestId, given)).toBe('claimed')
  })

  test.each([
    ['a block', 'block', {}, 'blocked'],
    ['one that asks for a challenge', 'challenge', {}, 'blocked'],
    ['one that asks for a challenge, which was solved', 'challenge', { isSolved: true }, 'claimed'],
    ['a block, where they only observe', 'block', { mode: 'observe' }, 'claimed'],
    ['a block, where the recipient is trusted', 'block', { isTrusted: true }, 'claimed'],
    ['a block, where that rule is off', 'block', { rules: { blocked: 'off' } }, 'claimed'],
  ] as const)('by the fraud rules: %s', async (title, asks, given, verdict) => {
    // One of its own, so that no other test's sends count.
    const appId = `guarded-${title.replaceAll(/[^a-z]+/g, '-')}`
    await createApp(rig.requests.db, { id: appId, name: 'Guarded' })
    const requestId = await openLive({ appId, protection: guarded(given) })
    await answer(await claimed(requestId), acceptance)
    await blockCountry(appId, asks)
    expect(await verdictOf(requestId, { sendNo: 2, step: 1, channel: 'voice' })).toBe(verdict)
  })

  test('is judged by lists in the statement as in the rules', async () => {
    const recipient = rig.requests.freshNumber()
    const values = recipientValues({ ...recipient, country: 'GH' })
    const choices = [
      { kind: 'phone_number', value: recipient.value, length: 0 },
      { kind: 'prefix', value: recipient.value.slice(0, 6), length: 5 },
      { kind: 'prefix', value: recipient.value.slice(0, 9), length: 8 },
      { kind: 'country', value: 'GH', length: 0 },
    ] as const
    for (const { kind, value } of choices)
      expect(values.some((one) => one.kind === kind && one.value === value)).toBe(true)
    let compared = 0
    // Each place has no entry, one that allows or one that blocks; the operators' list has a prefix too, or none.
    for (let code = 0; code < 3 ** choices.length * 3; code++) {
      const entries = [...choices, choices[1]].flatMap((choice, place) => {
        const pick = Math.floor(code / 3 ** place) % 3
        const appId = place < choices.length ? 'app' : null
        return pick === 0
          ? []
          : [{ ...choice, appId, verdict: pick === 1 ? 'allow' : 'block' } as const]
      })
      await rig.requests.db.many(sql`delete from list_entries`)
      for (const entry of entries)
        await putListEntry(rig.requests.db, rig.requests.keyring, { ...entry, actor: 'test' })
      const matches: ListMatch[] = entries.map(({ appId, ...entry }) => ({
        ...{ ...entry, isGlobal: appId === null },
      }))
      const requestId = await openLive()
      const verdict = await verdictOf(requestId, { listDigests: digests(recipient.value) })
      expect([entries, verdict]).toEqual([
        entries,
        judgeLists(matches).isBlocked ? 'blocked' : 'claimed',
      ])
      compared++
    }
    expect(compared).toBe(243)
    await rig.requests.db.many(sql`delete from list_entries`)
  })
})
