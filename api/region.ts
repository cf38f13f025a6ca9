import type { App } from '../db/apps/apps'
import { Problem } from './problem'

/**
 * Leaves an app of another region to a process there.
 * @param region of this process; undefined: of none
 * @throws {Problem} WRONG_REGION, whoever asks
 */
export function requireServed(
  { region: home }: Pick<App, 'region'>,
  region: string | undefined,
): void {
  if (home !== null && home !== region) throw new Problem('WRONG_REGION')
}
