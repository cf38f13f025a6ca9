import { counted, type Language } from '../language'

export const fr: Language = {
  direction: 'ltr',
  lifetime: counted('minute', 'minutes'),
  comma: ',',
  warnings: ['personne', 'donnez', 'partage', 'communique', 'secret', 'confidentiel', 'divulgue'],
  sms: 'Votre code {{brand}} est {{code}}. Il expire dans {{lifetime}}. Ne le donnez à personne.',
  whatsapp:
    'Votre code {{brand}} est {{code}}. Il expire dans {{lifetime}}. Ne le donnez à personne.',
  voice: {
    text: 'Votre code {{brand}} est {{code}}. Il expire dans {{lifetime}}. Ne le donnez à personne.',
    keyPrompt:
      'Ceci est un appel de {{brand}} avec votre code. Pour l’écouter, appuyez sur une touche.',
  },
  email: {
    subject: 'Votre code {{brand}}',
    text: [
      'Votre code {{brand}} est {{code}}.',
      'Il expire dans {{lifetime}}. Ne le donnez à personne : {{brand}} ne vous le demandera jamais.',
      'Si vous n’avez pas demandé de code, ignorez ce message.',
    ].join('\n\n'),
  },
  ussd: {
    text: 'Votre code {{brand}} est {{code}}. Il expire dans {{lifetime}}. Ne le donnez pas.',
    nothing: 'Aucun code ne vous attend.',
    choose: 'Quel code voulez-vous ?',
    later: 'Trop de tentatives. Essayez plus tard.',
  },
}
