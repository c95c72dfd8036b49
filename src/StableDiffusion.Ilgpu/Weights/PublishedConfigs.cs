namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Published configurations (JSON, as in the models' diffusers folders) of the components of Stable Diffusion 1.x and 2.x.
/// </summary>
internal static class PublishedConfigs
{
    /// <summary>Stable Diffusion 1.x: the text encoder of OpenAI's CLIP ViT-L/14.</summary>
    public const string Clip = """
        {
          "architectures": ["CLIPTextModel"],
          "hidden_act": "quick_gelu",
          "hidden_size": 768,
          "intermediate_size": 3072,
          "layer_norm_eps": 1e-05,
          "max_position_embeddings": 77,
          "model_type": "clip_text_model",
          "num_attention_heads": 12,
          "num_hidden_layers": 12,
          "projection_dim": 768,
          "vocab_size": 49408
        }
        """;

    /// <summary>Stable Diffusion 2.x: OpenCLIP's ViT-H/14 without the last of its 24 layers.</summary>
    public const string OpenClip = """
        {
          "architectures": ["CLIPTextModel"],
          "hidden_act": "gelu",
          "hidden_size": 1024,
          "intermediate_size": 4096,
          "layer_norm_eps": 1e-05,
          "max_position_embeddings": 77,
          "model_type": "clip_text_model",
          "num_attention_heads": 16,
          "num_hidden_layers": 23,
          "projection_dim": 512,
          "vocab_size": 49408
        }
        """;

    public const string Vae = """
        {
          "_class_name": "AutoencoderKL",
          "act_fn": "silu",
          "block_out_channels": [128, 256, 512, 512],
          "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
          "in_channels": 3,
          "latent_channels": 4,
          "layers_per_block": 2,
          "norm_num_groups": 32,
          "out_channels": 3,
          "sample_size": 512,
          "scaling_factor": 0.18215,
          "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]
        }
        """;

    /// <summary>The training schedule that all have, for samplers with whole timesteps.</summary>
    /// <param name="prediction">epsilon or v_prediction.</param>
    public static string Scheduler(string prediction) => $$"""
        {
          "_class_name": "PNDMScheduler",
          "beta_end": 0.012,
          "beta_schedule": "scaled_linear",
          "beta_start": 0.00085,
          "clip_sample": false,
          "num_train_timesteps": 1000,
          "prediction_type": "{{prediction}}",
          "set_alpha_to_one": false,
          "skip_prk_steps": true,
          "steps_offset": 1,
          "trained_betas": null
        }
        """;

    /// <summary>SD-Turbo's: distilled for few steps, which begin at the noisiest level.</summary>
    public const string TurboScheduler = """
        {
          "_class_name": "EulerDiscreteScheduler",
          "beta_end": 0.012,
          "beta_schedule": "scaled_linear",
          "beta_start": 0.00085,
          "clip_sample": false,
          "num_train_timesteps": 1000,
          "prediction_type": "epsilon",
          "set_alpha_to_one": false,
          "steps_offset": 1,
          "timestep_spacing": "trailing",
          "trained_betas": null
        }
        """;

    /// <summary>Stable Diffusion 1.x.</summary>
    /// <param name="inChannels">4, or 9 for inpainting.</param>
    public static string UNet1(int inChannels) => UNet(inChannels, "8", 768, linear: false, 64);

    /// <summary>Stable Diffusion 2.x.</summary>
    /// <param name="inChannels">4, or 9 for inpainting.</param>
    /// <param name="sampleSize">Side of the latents that it was trained for: 64, or 96 of the v-prediction model.</param>
    public static string UNet2(int inChannels, int sampleSize) => UNet(inChannels, "[5, 10, 20, 20]", 1024, linear: true, sampleSize);

    private static string UNet(int inChannels, string heads, int context, bool linear, int sampleSize) => $$"""
        {
          "_class_name": "UNet2DConditionModel",
          "act_fn": "silu",
          "attention_head_dim": {{heads}},
          "block_out_channels": [320, 640, 1280, 1280],
          "center_input_sample": false,
          "cross_attention_dim": {{context}},
          "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
          "downsample_padding": 1,
          "flip_sin_to_cos": true,
          "freq_shift": 0,
          "in_channels": {{inChannels}},
          "layers_per_block": 2,
          "mid_block_scale_factor": 1,
          "norm_eps": 1e-05,
          "norm_num_groups": 32,
          "out_channels": 4,
          "sample_size": {{sampleSize}},
          "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
          "use_linear_projection": {{(linear ? "true" : "false")}}
        }
        """;
}
