export { otpRequest } from './otp-request'
