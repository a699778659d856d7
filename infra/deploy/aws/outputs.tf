output "url" {
  value       = "https://${aws_lb.web.dns_name}/"
  description = "Give the certificate's name an alias of this; then make the first key (docs/deploy.md)."
}

output "bucket" {
  value = aws_s3_bucket.objects.id
}
