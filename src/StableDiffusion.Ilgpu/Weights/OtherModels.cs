namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// What a file is that holds no Stable Diffusion 1.x or 2.x model, told from names that only its kind has. Looked at where a file was not
/// understood, so that the message can say more than which tensors are too many.
/// </summary>
internal static class OtherModels
{
    private const string Supported = "; supported: Stable Diffusion 1.x and 2.x";

    /// <summary>The first kind of which a tensor is there; those that contain others' tensors come first.</summary>
    private static readonly (string Text, string[] Starts, string[] Parts)[] Kinds =
    [
        ("a LoRA, which changes a model (--lora)", [],
            [".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.", ".lora.up.", "_lora.down.", "_lora.up.", ".hada_w1_", ".lokr_w1"]),
        ("an embedding of textual inversion (--embedding)", ["emb_params", "string_to_param."], []),
        ("a TAESD, a small autoencoder (--taesd)", ["taesd_decoder.", "taesd_encoder.", "decoder.layers.", "3.conv.0."], []),
        ("a Stable Diffusion XL model (two text encoders)" + Supported, ["conditioner.embedders.1."], []),
        ("a Stable Video Diffusion model" + Supported, ["conditioner.embedders.0.open_clip."], []),
        ("a Stable Diffusion 3 model" + Supported, [], ["joint_blocks."]),
        ("a Flux model" + Supported, [], ["double_blocks."]),
        ("a transformer, as Stable Diffusion 3 and Flux have in place of a UNet" + Supported, ["transformer_blocks."], []),
        ("a Stable Cascade model" + Supported, [], [".channelwise.", "clip_txt_mapper."]),
        ("a ControlNet, or a model with one; those are not supported", ["control_model."],
            ["input_hint_block.", "controlnet_cond_embedding.", "controlnet_down_blocks."]),
        ("a motion module, or a model with one; those are not supported", [], ["motion_modules.", "temporal_transformer."]),
        ("an IP-Adapter; those are not supported", ["ip_adapter.", "image_proj."], []),
        ("a Stable Diffusion model that enlarges pictures" + Supported, ["low_scale_model."], []),
        ("a Stable Diffusion model that is guided by depth" + Supported, ["depth_model."], []),
        ("a Stable Diffusion unCLIP model" + Supported, ["noise_augmentor.", "embedder.model."], []),
        ("a UNet of Stable Diffusion XL or another one with a second conditioning" + Supported, ["add_embedding."], ["label_emb."]),
        ("a UNet with embedded guidance (time_cond_proj_dim), which is not supported", [], ["time_embed.cond_proj.", "time_embedding.cond_proj."]),
        ("fp8 with scales beside the weights, which is not supported", [], ["scaled_fp8", ".scale_weight"]),
    ];

    /// <summary>What a file with these tensors is; null where no name tells.</summary>
    public static string? Find(IEnumerable<string> tensors)
    {
        var names = tensors.ToList();
        return Kinds.FirstOrDefault(k => names.Any(
            n => k.Starts.Any(s => n.StartsWith(s, StringComparison.Ordinal)) || k.Parts.Any(p => n.Contains(p, StringComparison.Ordinal)))).Text;
    }

    /// <summary>What a UNet is that takes pictures beside the latent in a way of its own; null for any other.</summary>
    /// <param name="unet">Its tensors under diffusers' names.</param>
    public static string? Find(IReadOnlyDictionary<string, TensorInfo> unet)
    {
        const int latent = 4;
        return unet.GetValueOrDefault("conv_in.weight")?.Shape is [_, var input, ..]
            && unet.GetValueOrDefault("conv_out.weight")?.Shape is [latent, ..]
            ? input switch
            {
                5 => "a Stable Diffusion model that is guided by depth (a UNet of 5 channels)" + Supported,
                7 => "a Stable Diffusion model that enlarges pictures (a UNet of 7 channels)" + Supported,
                8 => "an InstructPix2Pix model (a UNet of 8 channels)" + Supported,
                _ => null,
            }
            : null;
    }
}
