import type { Language } from '../language'

export const sw: Language = {
  direction: 'ltr',
  // The word comes first, and is the same for one and for many.
  lifetime: (minutes) => `dakika ${minutes}`,
  comma: ',',
  warnings: ['usimpe', 'usimwambie', 'usishiriki', 'yeyote', 'siri'],
  sms: 'Msimbo wako wa {{brand}} ni {{code}}. Unaisha baada ya {{lifetime}}. Usimpe mtu yeyote.',
  whatsapp:
    'Msimbo wako wa {{brand}} ni {{code}}. Unaisha baada ya {{lifetime}}. Usimpe mtu yeyote.',
  voice: {
    text: 'Msimbo wako wa {{brand}} ni {{code}}. Unaisha baada ya {{lifetime}}. Usimwambie mtu yeyote.',
    keyPrompt:
      'Hii ni simu kutoka {{brand}} yenye msimbo wako. Ili kuusikia, bonyeza kitufe chochote.',
  },
  email: {
    subject: 'Msimbo wako wa {{brand}}',
    text: [
      'Msimbo wako wa {{brand}} ni {{code}}.',
      'Unaisha baada ya {{lifetime}}. Usimpe mtu yeyote: {{brand}} haitakuomba kamwe.',
      'Ikiwa hukuomba msimbo, puuza ujumbe huu.',
    ].join('\n\n'),
  },
  ussd: {
    text: 'Msimbo wako wa {{brand}} ni {{code}}. Unaisha baada ya {{lifetime}}. Usimpe mtu yeyote.',
    nothing: 'Hakuna msimbo unaosubiri nambari hii.',
    choose: 'Unataka msimbo upi?',
    later: 'Umejaribu mara nyingi. Jaribu tena baadaye.',
  },
}
