import { counted, type Language, type UssdTexts } from '../language'

/** The one language that has every text: what people of other languages get where theirs has none. */
export const en: Language & { ussd: UssdTexts } = {
  direction: 'ltr',
  lifetime: counted('minute', 'minutes'),
  comma: ',',
  warnings: ['share', 'anyone', 'anybody', 'nobody', 'no one', 'secret', 'private'],
  sms: 'Your {{brand}} code is {{code}}. It is valid for {{lifetime}}. Do not share it.',
  whatsapp:
    'Your {{brand}} code is {{code}}. It is valid for {{lifetime}}. Do not share it with anybody.',
  voice: {
    text: 'Your {{brand}} code is {{code}}. It is valid for {{lifetime}}. Do not tell it to anybody.',
    keyPrompt: 'This is a call from {{brand}} with your code. To hear it, press any key.',
  },
  email: {
    subject: 'Your {{brand}} code',
    text: [
      'Your {{brand}} code is {{code}}.',
      'It is valid for {{lifetime}}. Do not share it with anybody: {{brand}} will never ask you for it.',
      'If you did not ask for a code, ignore this message.',
    ].join('\n\n'),
  },
  ussd: {
    text: 'Your {{brand}} code is {{code}}. It is valid for {{lifetime}}. Do not share it.',
    nothing: 'No code is waiting for this number.',
    choose: 'Which code do you want?',
    later: 'Too many tries. Please try again later.',
  },
}
