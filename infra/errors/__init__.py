"""What can go wrong in the service, as one tree of exceptions with stable codes.

    ServiceError
      ConfigurationError         configuration_invalid      a setting is wrong or misspelt
      InvalidRequest             invalid_request            400
        InvalidCursor            invalid_cursor             400
        InvalidOptions           invalid_options            422
        InvalidFeedback          feedback_invalid           422
        InvalidFilter            filter_invalid             400
        InvalidBox               box_invalid                422
      UnsupportedMediaType       unsupported_media_type     415
      BodyTooLarge               body_too_large             413
      TooManyFiles               too_many_files             413
      UploadTooSlow              upload_too_slow            408, retryable
      RequestLineTooLong         request_line_too_long      414
      HeadersTooLarge            headers_too_large          431
      UnreadableRequest          request_unreadable         400
      RouteNotFound              route_not_found            404
      MethodNotAllowed           method_not_allowed         405
      RejectedImage              image_rejected             422  refused from its header, before any job exists
      UploadNotFound             upload_not_found           404
      UploadExpired              upload_expired             410
      UploadIncomplete           upload_incomplete          409, retryable
      UploadFinished             upload_finished            409
      UploadMismatch             upload_mismatch            422
      KeyMissing                 key_missing                401
      KeyInvalid                 key_invalid                401
        KeyExpired               key_expired                401
      ScopeMissing               scope_missing              403
      KeysRequired               keys_required              403
      CrossSite                  cross_site_request         403
      HostUnknown                host_unknown               421
      KeyNotFound                key_not_found              404
      RateLimited                rate_limited               429, retryable
      BytesLimited               bytes_limited              429, retryable
      OpenJobsLimited            open_jobs_limited          429, retryable
      IdempotencyKeyReused       idempotency_key_reused     422
      IdempotencyInProgress      idempotency_in_progress    409, retryable
      JobNotFound                job_not_found              404
        BatchNotFound            batch_not_found            404
      JobExpired                 job_expired                410
        JobErased                job_erased                 410
        BatchExpired             batch_expired              410
      JobFinished                job_finished               409
      JobUnfinished              job_unfinished             409, retryable
      JobWithoutAnswer           job_without_answer         409
      AnswerLate                 answer_late                504
      JobPoisoned                job_poisoned               500  never raised to a client: the error of a failed job
      CancelAfterPassed          cancel_after_passed        504  never raised to a client: the error of a canceled job
      DeliveryNotFound           delivery_not_found         404
      DeliveryFinished           delivery_finished          409
      EventsExpired              events_expired             410
      WebhookNotFound            webhook_not_found          404
      WebhookDisabled            webhook_disabled           409
      TooManyWebhooks            too_many_webhooks          409
      WebhookKeysUnreadable      webhook_keys_unreadable    500
      InvalidGalleryName         gallery_name_invalid       422
      GalleryNotFound            gallery_not_found          404
      GalleryExists              gallery_exists             409
      GalleryBusy                gallery_busy               409, retryable
      GalleryCorrupt             gallery_corrupt            500
      MilvusNotConfigured        milvus_not_configured      409
      MilvusUnavailable          milvus_unavailable         503, retryable
      VersionNotFound            gallery_version_not_found  404
      LabelExists                label_exists               409
      ItemNotFound               item_not_found             404
      FeedbackNotFound           feedback_not_found         404
      ErasureNotFound            erasure_not_found          404
      EmbedderMismatch           embedder_mismatch          409
      EmbedderUnknown            embedder_unknown           422
      NothingToReembed           reembedding_impossible     422
      ImportRefused              import_invalid             422
      ImportForbidden            import_forbidden           403
      InvalidUrl                 url_invalid                422
      AddressForbidden           address_forbidden          422
        BucketForbidden          bucket_forbidden           422
      FetchFailed                fetch_failed               422, retryable
        FetchTimeout             fetch_timeout              422, retryable
        FetchTooLarge            fetch_too_large            422
        S3AccessDenied           bucket_access_denied       422
        S3KeyMissing             bucket_key_missing         422
        S3BucketMissing          bucket_not_found           422
      ObjectNotFound             object_not_found           404
        PhotoNotFetched          photo_not_fetched          404, retryable
        PictureNotRenderable     picture_not_renderable     404, retryable where a worker is still to look at it
      ResultNotReady             result_not_ready           409, retryable while the job is open
      RenderingBusy              rendering_busy             503, retryable
      ModelNotConfigured         model_not_configured       501
      InvalidObjectKey           object_key_invalid         400
      StorageUnavailable         storage_unavailable        503, retryable
        StorageUnreachable       storage_unreachable        503, retryable
        StorageRefused           storage_refused            503
          BucketMissing          bucket_missing             503
      NotReady                   not_ready                  503, retryable
      Overloaded                 overloaded                 503, retryable
      RedisUnavailable           redis_unavailable          503, retryable
        RedisMisconfigured       redis_misconfigured        503

Codes are part of the API; docs/errors.md lists them and a test keeps it true. They become HTTP answers in `web.errors`
and the `error` of a job in the worker, nowhere else. `detail` is written for the user: no path, key or stack trace.
"""
