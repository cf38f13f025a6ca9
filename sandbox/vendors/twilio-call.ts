import type { Entry } from '../inbox'
import type { Status } from '../words'
import { readScript, timeNow } from './twilio-wire'
import { codeIn } from './vendor'

const callSeconds = 12

/** What the sandbox's words are in a call's status. */
const callWords: ReadonlyMap<Status, string> = new Map([
  ['declined', 'busy'],
  ['failed', 'no-answer'],
  ['expired', 'no-answer'],
])

interface CallParts {
  /** As every callback names the call. */
  named: Record<string, string>
  /** The event of the call's progress that each is, where the caller asked to hear of it. */
  events: ReadonlySet<string>
  statusUrl: string
  /** Where the result of the machine detection goes; empty without one. */
  detectionUrl: string
  /** Where the key goes that is pressed at the first script's request. */
  keyUrl: string | undefined
  onStatus: (status: string) => void
  /** Repeated until it is taken. */
  tell: (url: string, fields: Record<string, string>) => Promise<void>
  /** One call; @returns the next script. */
  ask: (url: string, fields: Record<string, string>) => Promise<string>
}

/** The progress of one call: a person answers, presses a key when asked to, listens and hangs up. */
export class PlayedCall {
  private sequence = 0

  constructor(private readonly parts: CallParts) {}

  async report(status: Status, entry: Entry | undefined): Promise<void> {
    if (status === 'ringing') {
      await this.progress('initiated', 'initiated')
      return this.progress('ringing', 'ringing')
    }
    if (status === 'answered') return this.answer(entry)
    if (status === 'delivered') return this.reachMachine()
    const word = callWords.get(status)
    if (word) await this.progress('completed', word, { CallDuration: '0' })
  }

  private async answer(entry: Entry | undefined) {
    const { named, keyUrl, detectionUrl, tell } = this.parts
    await this.progress('answered', 'in-progress')
    if (detectionUrl)
      await tell(detectionUrl, {
        ...named,
        AnsweredBy: 'human',
        MachineDetectionDuration: '1800',
      })
    if (keyUrl) await this.pressKey(keyUrl, entry)
    const answeredBy: Record<string, string> = detectionUrl ? { AnsweredBy: 'human' } : {}
    const CallDuration = String(callSeconds)
    await this.progress('completed', 'completed', { CallDuration, ...answeredBy })
  }

  /** Put through, but to a voicemail: it presses no key. What it was is told once, and not with the call's end. */
  private async reachMachine() {
    const { named, detectionUrl, tell } = this.parts
    await this.progress('answered', 'in-progress')
    const result = { AnsweredBy: 'machine_start', MachineDetectionDuration: '2400' }
    if (detectionUrl) await tell(detectionUrl, { ...named, ...result })
    await this.progress('completed', 'completed', { CallDuration: String(callSeconds) })
  }

  /** A script that does not come leaves the person with what was said before. */
  private async pressKey(url: string, entry: Entry | undefined) {
    const pressed = { ...this.parts.named, CallStatus: 'in-progress', Digits: '1' }
    const script = await this.parts.ask(url, pressed).catch(() => undefined)
    if (script === undefined || !entry) return
    entry.text = readScript(script).says
    entry.code = codeIn(entry.text)
  }

  private async progress(event: string, status: string, more: Record<string, string> = {}) {
    const { named, events, statusUrl, onStatus, tell } = this.parts
    onStatus(status)
    const SequenceNumber = String(this.sequence++)
    if (!statusUrl || !events.has(event)) return
    const told = { CallStatus: status, CallbackSource: 'call-progress-events', SequenceNumber }
    await tell(statusUrl, { ...named, ...told, Timestamp: timeNow(), ...more })
  }
}
