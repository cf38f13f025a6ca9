import type { Language } from '../language'
import { ar } from './ar'
import { en } from './en'
import { es } from './es'
import { fr } from './fr'
import { pt } from './pt'
import { sw } from './sw'

/** Everything that otpilot says by itself, by the language's subtag. */
export const languages = { en, fr, pt, es, sw, ar } as const satisfies Record<string, Language>
export type LanguageTag = keyof typeof languages

/** What is said to people whose language is none of ours. */
export const fallback: LanguageTag = 'en'
