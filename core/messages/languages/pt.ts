import { counted, type Language } from '../language'

/** For Africa, Portugal and Brazil alike. GSM-7 has no ó and no ã, hence PIN and not "código" where it matters. */
export const pt: Language = {
  direction: 'ltr',
  lifetime: counted('minuto', 'minutos'),
  comma: ',',
  warnings: ['revele', 'partilh', 'compartilh', 'ninguém', 'ninguem', 'segredo', 'divulgue'],
  sms: 'O seu PIN {{brand}} é {{code}}. Expira em {{lifetime}}. Nunca o revele a ninguém.',
  whatsapp: 'O seu código {{brand}} é {{code}}. Expira em {{lifetime}}. Não o revele a ninguém.',
  voice: {
    text: 'O seu código {{brand}} é {{code}}. Expira em {{lifetime}}. Não o diga a ninguém.',
    keyPrompt:
      'Esta é uma chamada de {{brand}} com o seu código. Para o ouvir, pressione qualquer tecla.',
  },
  email: {
    subject: 'O seu código {{brand}}',
    text: [
      'O seu código {{brand}} é {{code}}.',
      'Expira em {{lifetime}}. Não o revele a ninguém: {{brand}} nunca lho vai pedir.',
      'Se não pediu um código, ignore esta mensagem.',
    ].join('\n\n'),
  },
  ussd: {
    text: 'PIN {{brand}}: {{code}}. Expira em {{lifetime}}. Nunca o revele.',
    nothing: 'Nenhum PIN para este telefone.',
    choose: 'Que PIN deseja ver?',
    later: 'Muitas tentativas. Tente mais tarde.',
  },
}
