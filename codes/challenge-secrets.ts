import { hkdfSync } from 'node:crypto'
import type { Key } from './keyring'

/** What signs a challenge, and what signs the answer that its solver has to find. */
export interface ChallengeSecrets {
  challenge: string
  solution: string
}

/** The secrets that come of one key of the purpose `cookies`. */
export const challengeSecrets = ({ key }: Key): ChallengeSecrets => ({
  challenge: derive(key, 'challenge/v1|signature'),
  solution: derive(key, 'challenge/v1|solution'),
})

const derive = (key: Buffer, label: string): string =>
  Buffer.from(hkdfSync('sha256', key, '', label, 32)).toString('hex')
