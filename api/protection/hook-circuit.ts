import { hookLimits } from '../../core/protection/hook'

/**
 * Keeps one app's hook from costing every send its time, and this process its sockets, while it gives no answers. What it
 * knows is this process's own: each finds out for itself, at the price of a few slow sends.
 */
export class HookCircuit {
  private failures = 0
  private pausedUntil = 0
  private underWay = 0

  /** @param now milliseconds of a clock that never goes back */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Whether the hook may be called now; who is let in has to `leave`. */
  enter(): boolean {
    const { failures, atOnce, pauseMs } = hookLimits
    if (this.underWay >= atOnce) return false
    if (this.failures >= failures) {
      if (this.now() < this.pausedUntil) return false
      // This one tries it; the others wait for what it finds.
      this.pausedUntil = this.now() + pauseMs
    }
    this.underWay++
    return true
  }

  /** @returns whether this was the failure that has it left alone from now on */
  leave(answered: boolean): boolean {
    this.underWay--
    if (answered) {
      this.failures = 0
      return false
    }
    this.failures++
    if (this.failures < hookLimits.failures) return false
    this.pausedUntil = this.now() + hookLimits.pauseMs
    return this.failures === hookLimits.failures
  }
}
