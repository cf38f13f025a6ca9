import { describe, expect, test } from '@jest/globals'
import {
  type Admission,
  type AdmissionKind,
  createAdmission,
  inFlightLimits,
  type Place,
} from '../../api/admission'

/** The places that an app gets of `count` that it asks for. */
function claimed(admission: Admission, app: string, count: number, kind: AdmissionKind = 'send') {
  const places: Place[] = []
  for (let n = 0; n < count; n++) {
    const place = admission.enter(kind)
    try {
      place.claim(app)
      place.begin()
      places.push(place)
    } catch (error) {
      expect(error).toMatchObject({ code: 'OVERLOADED', options: { retryAfterSeconds: 1 } })
      place.leave()
    }
  }
  return places
}

describe('apps share the places', () => {
  test('one alone has all of them', () => {
    expect(
      claimed(
        createAdmission(inFlightLimits, () => 0),
        'noisy',
        300,
      ),
    ).toHaveLength(200)
  })

  test('one that has them all does not keep others out, and gets no more until it is below its part', () => {
    const admission = createAdmission(inFlightLimits, () => 0)
    const noisy = claimed(admission, 'noisy', 300)
    const quiet = claimed(admission, 'quiet', 300)
    expect(quiet).toHaveLength(100)
    expect(claimed(admission, 'third', 300)).toHaveLength(67)
    for (const place of noisy.splice(0, 60)) place.leave()
    expect(claimed(admission, 'noisy', 1)).toHaveLength(0)
    for (const place of [...quiet, ...noisy]) place.leave()
    expect(claimed(admission, 'noisy', 300)).toHaveLength(133)
  })

  test('a flood from nobody knows whom is refused before its keys are looked up', () => {
    const admission = createAdmission({ send: 2, verify: 1 })
    for (let n = 0; n < 4; n++) admission.enter('send')
    expect(() => admission.enter('send')).toThrow(expect.objectContaining({ code: 'OVERLOADED' }))
    expect(() => admission.enter('verify')).not.toThrow()
  })
})

describe('while sends are slow', () => {
  function withClock() {
    let now = 0
    const admission = createAdmission({ send: 200, verify: 500 }, () => now)
    const pass = (ms: number) => (now += ms)
    const end = (places: Place[]) => {
      for (const place of places) {
        place.settle()
        place.leave()
      }
    }
    return { admission, pass, end }
  }

  /** One send stays under way, and others have been slow for so long. */
  function slowFor(ms: number) {
    const all = withClock()
    const [steady] = claimed(all.admission, 'steady', 1)
    const first = claimed(all.admission, 'app', 1)
    all.pass(600)
    all.end(first)
    all.pass(ms)
    return { ...all, steady }
  }

  test('there is less room, once for those that were under way together', () => {
    const { admission, pass, end } = slowFor(2_000)
    const slow = claimed(admission, 'app', 99)
    pass(1_000)
    end(slow)
    expect(claimed(admission, 'app', 200)).toHaveLength(69)
  })

  test('a burst is carried', () => {
    const { admission, pass, end } = slowFor(500)
    const burst = claimed(admission, 'app', 99)
    pass(1_000)
    end(burst)
    expect(claimed(admission, 'app', 300)).toHaveLength(199)
  })

  test('there are always some places, and more with each quick send', () => {
    const { admission, pass, end } = slowFor(2_000)
    for (let n = 0; n < 50; n++) {
      const some = claimed(admission, 'app', 200)
      pass(1_000)
      end(some)
    }
    const few = claimed(admission, 'app', 200)
    expect(few).toHaveLength(3)
    pass(10)
    end(few)
    for (let n = 0; n < 20; n++) end(claimed(admission, 'app', 1))
    expect(claimed(admission, 'app', 300)).toHaveLength(4 + 3 + 20 - 1)
  })

  test('a process that is idle has all of its places', () => {
    const { admission, pass, end, steady } = slowFor(2_000)
    const slow = claimed(admission, 'app', 100)
    pass(1_000)
    end(slow)
    steady?.leave()
    expect(claimed(admission, 'app', 300)).toHaveLength(200)
  })

  test('what waits for a slow caller, a hook or news does not count as slow', () => {
    const { admission, pass } = withClock()
    const places = Array.from({ length: 100 }, () => admission.enter('send'))
    for (const place of places) place.claim('app')
    pass(10_000)
    for (const place of places) {
      place.begin()
      place.settle()
    }
    pass(10_000)
    for (const place of places) place.leave()
    expect(claimed(admission, 'app', 300)).toHaveLength(200)
  })

  test('a send that failed late counts, one that was refused does not', () => {
    const { admission, pass } = slowFor(2_000)
    for (const place of claimed(admission, 'app', 19)) place.leave()
    const late = claimed(admission, 'app', 19)
    pass(1_600)
    for (const place of late) place.leave()
    expect(claimed(admission, 'app', 300)).toHaveLength(13)
  })

  test('checks have all of their places', () => {
    const { admission, pass, end } = withClock()
    const checks = claimed(admission, 'app', 500, 'verify')
    pass(5_000)
    end(checks)
    expect(claimed(admission, 'app', 600, 'verify')).toHaveLength(500)
  })
})
