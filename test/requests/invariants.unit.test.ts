import { describe, expect, test } from '@jest/globals'
import { type Evidence, violationsOf } from '../harness/invariants'

const start = Date.parse('2026-01-01T00:00:00Z')
const at = (seconds: number) => new Date(start + seconds * 1_000)
const circumstances = { faults: [], accepted: new Set(['otp_1']) }

/** Sent by SMS, delivered, verified: nothing to complain about. */
const sound: Evidence = {
  requestId: 'otp_1',
  state: 'verified',
  started: true,
  createdAt: at(0),
  expiresAt: at(300),
  succeededAt: at(2),
  endedAt: at(5),
  auditSeq: 6,
  attempts: [{ step: 0, state: 'accepted' }],
  events: [
    { sequence: 1, type: 'requested' },
    { sequence: 2, type: 'started' },
    { sequence: 3, type: 'attempt_claimed' },
    { sequence: 4, type: 'attempt_accepted' },
    { sequence: 5, type: 'receipt' },
    { sequence: 6, type: 'verified' },
  ],
  messages: [{ channel: 'sms', code: '123456', at: at(1) }],
  runs: [{ closed: true }],
}
const message = { channel: 'sms', code: '123456', at: at(1) }

describe('the checker of the fault tests', () => {
  test('finds nothing wrong with a sound request', () => {
    expect(violationsOf(sound, circumstances)).toEqual([])
  })

  test('allows one message more after a fault', () => {
    const resent: Evidence = {
      ...sound,
      auditSeq: 8,
      attempts: [
        { step: 0, state: 'in_doubt' },
        { step: 0, state: 'accepted' },
      ],
      events: [
        ...sound.events.slice(0, 3),
        { sequence: 4, type: 'attempt_in_doubt' },
        { sequence: 5, type: 'attempt_claimed' },
        { sequence: 6, type: 'attempt_accepted' },
        { sequence: 7, type: 'receipt' },
        { sequence: 8, type: 'verified' },
      ],
      messages: [message, message],
    }
    const fault = at(1).getTime()
    expect(violationsOf(resent, { ...circumstances, faults: [fault] })).toEqual([])
    expect(violationsOf(resent, circumstances)).toEqual([
      expect.stringContaining('1 messages too many for 0 faults'),
    ])
    // A fault after its success excuses nothing.
    expect(violationsOf(resent, { ...circumstances, faults: [at(4).getTime()] })).toHaveLength(1)
  })

  const planted: [string, Partial<Evidence>][] = [
    ['it has not ended', { state: 'pending' }],
    [
      'it has 2 endings',
      { events: [...sound.events, { sequence: 7, type: 'expired' }], auditSeq: 7 },
    ],
    ['it has 0 endings', { events: sound.events.slice(0, 5), auditSeq: 5 }],
    ['its audit says verified, its row expired', { state: 'expired' }],
    ['it outlived its expiry', { endedAt: at(400) }],
    ['its audit has gaps', { events: sound.events.filter(({ sequence }) => sequence !== 5) }],
    ['its audit has gaps', { auditSeq: 7 }],
    [
      'something was claimed after the end',
      { events: [...sound.events, { sequence: 7, type: 'attempt_claimed' }], auditSeq: 7 },
    ],
    ['2 attempts, 1 of them', { attempts: [...sound.attempts, { step: 1, state: 'refused' }] }],
    ['a call was left open', { attempts: [{ step: 0, state: 'open' }] }],
    ['different codes', { messages: [message, { ...message, code: '654321' }] }],
    ['2 messages, 1 claims', { messages: [message, message] }],
    ['never started by its row', { started: false }],
    ['accepted and never started', { started: false, messages: [] }],
    ['it has 2 runs', { runs: [{ closed: true }, { closed: true }] }],
    ['it has 0 runs', { runs: [] }],
    ['its run has not ended', { runs: [{ closed: false }] }],
  ]
  test.each(planted)('finds a planted violation: %s', (sentence, wrong) => {
    expect(violationsOf({ ...sound, ...wrong }, circumstances)).toContainEqual(
      expect.stringContaining(sentence),
    )
  })
})
