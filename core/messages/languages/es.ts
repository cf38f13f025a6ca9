import { counted, type Language } from '../language'

/** GSM-7 has no ó, hence "clave" and not "código" where it matters. */
export const es: Language = {
  direction: 'ltr',
  lifetime: counted('minuto', 'minutos'),
  comma: ',',
  warnings: ['compart', 'nadie', 'secret', 'revele', 'reveles', 'confidencial'],
  sms: 'Su clave de {{brand}} es {{code}}. Vence en {{lifetime}}. No la comparta con nadie.',
  whatsapp: 'Su código de {{brand}} es {{code}}. Vence en {{lifetime}}. No lo comparta con nadie.',
  voice: {
    text: 'Su código de {{brand}} es {{code}}. Vence en {{lifetime}}. No lo diga a nadie.',
    keyPrompt:
      'Le llamamos de {{brand}} para darle su código. Para escucharlo, pulse cualquier tecla.',
  },
  email: {
    subject: 'Su código de {{brand}}',
    text: [
      'Su código de {{brand}} es {{code}}.',
      'Vence en {{lifetime}}. No lo comparta con nadie: {{brand}} nunca se lo pedirá.',
      'Si no ha pedido un código, ignore este mensaje.',
    ].join('\n\n'),
  },
  ussd: {
    text: 'Su clave de {{brand}} es {{code}}. Vence en {{lifetime}}. No la comparta.',
    nothing: 'No hay claves pendientes.',
    choose: 'Elija la clave que desea ver:',
    later: 'Demasiados intentos. Pruebe luego.',
  },
}
