# Made once, kept in the state and in Secrets Manager; the tasks read them at their start.
resource "random_bytes" "webhooks" {
  length = 32
}

resource "aws_secretsmanager_secret" "settings" {
  name_prefix = "${var.name}-"
}

resource "aws_secretsmanager_secret_version" "settings" {
  secret_id = aws_secretsmanager_secret.settings.id
  secret_string = jsonencode({
    SHITU_REDIS_URL        = local.redis_url
    SHITU_WEBHOOKS__SECRET = "whsec_${random_bytes.webhooks.base64}"
  })
}
