# Photos that are put below uploads/GALLERY/ wake the function; it writes their answers below results/ (docs/deploy.md). A
# bucket of their own: the service's has an uploads/ and a results/ too, which mean something else.
resource "aws_s3_bucket" "photos" {
  count         = local.with_function ? 1 : 0
  bucket_prefix = "${var.name}-photos-"
}

resource "aws_s3_bucket_public_access_block" "photos" {
  count                   = local.with_function ? 1 : 0
  bucket                  = aws_s3_bucket.photos[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "photos" {
  count  = local.with_function ? 1 : 0
  bucket = aws_s3_bucket.photos[0].id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_notification" "photos" {
  count  = local.with_function ? 1 : 0
  bucket = aws_s3_bucket.photos[0].id
  queue {
    queue_arn     = aws_sqs_queue.jobs[0].arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "uploads/"
  }
  depends_on = [aws_sqs_queue_policy.jobs]
}

data "aws_iam_policy_document" "uploads" {
  count = local.with_function ? 1 : 0
  statement {
    sid       = "Uploads"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.jobs[0].arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.photos[0].arn]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.own.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "jobs" {
  count     = local.with_function ? 1 : 0
  queue_url = aws_sqs_queue.jobs[0].url
  policy    = data.aws_iam_policy_document.uploads[0].json
}
