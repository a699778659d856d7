output "url" {
  value       = "https://${aws_lb.web.dns_name}/"
  description = "Give the certificate's name an alias of this; then make the first key (docs/deploy.md)."
}

output "bucket" {
  value = aws_s3_bucket.objects.id
}

output "photos" {
  value       = one(aws_s3_bucket.photos[*].id)
  description = "What is put below uploads/GALLERY/ in this bucket is answered below results/. Null without a function."
}

output "dead_letters" {
  value       = one(aws_sqs_queue.dead[*].url)
  description = "Messages that the function could not do in five tries. Null without a function."
}
