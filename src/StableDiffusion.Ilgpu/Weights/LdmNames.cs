namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The names of single files (latent-diffusion's modules with a prefix for each component) and diffusers' names, in both directions, by
/// rule: the few numbers that the rules need are taken from the names themselves.
/// </summary>
internal sealed class LdmNames
{
    private const string UNetPrefix = "model.diffusion_model.";
    private const string VaePrefix = "first_stage_model.";
    private const string ClipPrefix = "cond_stage_model.transformer.";
    private const string OpenClipPrefix = "cond_stage_model.model.";

    /// <summary>Names of the generative-models library, in which SD-Turbo is published.</summary>
    private const string GenerativeModelsPrefix = "conditioner.embedders.0.model.";

    private const string TextModel = "text_model.";

    /// <summary>
    /// What training leaves in files and generation does not need. A pattern ends with '*' where it stands for all names that begin so.
    /// </summary>
    private static readonly string[] IgnoredPatterns =
    [
        "model_ema.*", "first_stage_model.model_ema.*", "first_stage_model.loss.*", "loss.*", "embedding_manager.*",
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
        "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights", "logvar", "scale_factor",
        "denoiser.sigmas", "global_step",
        "cond_stage_model.model.text_projection", "cond_stage_model.model.logit_scale", "cond_stage_model.model.attn_mask",
        "conditioner.embedders.0.model.text_projection", "conditioner.embedders.0.model.logit_scale",
        "conditioner.embedders.0.model.attn_mask", "cond_stage_model.logit_scale", "cond_stage_model.text_projection",
        "cond_stage_model.transformer.text_projection.weight",

        // What converters from transformers' names leave in OpenCLIP's.
        "cond_stage_model.model.transformer.text_model.embeddings.position_ids", "cond_stage_model.model.transformer.text_projection.weight",
        "conditioner.embedders.0.model.transformer.text_model.embeddings.position_ids",
        "conditioner.embedders.0.model.transformer.text_projection.weight",
    ];

    /// <summary>What files of whole CLIP models have beside the text encoder.</summary>
    private static readonly string[] IgnoredBesideText =
        ["vision_model.*", "visual.*", "visual_projection.weight", "text_projection", "text_projection.weight", "logit_scale", "attn_mask"];

    private readonly UNetLdmNames unet;
    private readonly VaeLdmNames vae;

    private LdmNames(UNetLdmNames unet, VaeLdmNames vae) => (this.unet, this.vae) = (unet, vae);

    /// <summary>For the names of a stored file, with or without prefixes.</summary>
    public static LdmNames OfOriginal(IEnumerable<string> names)
    {
        var all = names.ToList();
        return new LdmNames(UNetLdmNames.OfOriginal(Bare(UNetPrefix)), VaeLdmNames.OfOriginal(Bare(VaePrefix)));

        HashSet<string> Bare(string prefix) => [.. all.Select(n => NamePairs.Behind(prefix, n) ?? n)];
    }

    /// <summary>For a model's names in diffusers' naming.</summary>
    public static LdmNames OfDiffusers(IEnumerable<string> unet, IEnumerable<string> vae) =>
        new(UNetLdmNames.OfDiffusers(unet.ToHashSet()), VaeLdmNames.OfDiffusers(vae.ToHashSet()));

    /// <summary>
    /// The component and the tensors that a stored one of a single file holds: one, or three of the text encoder's, first rows first.
    /// Null for a name that is not one of a single file's components.
    /// </summary>
    public (ModelPart Part, string[] Names)? ToDiffusers(string name)
    {
        if (NamePairs.Behind(UNetPrefix, name) is { } inUNet)
        {
            return unet.ToDiffusers(inUNet) is { } found ? (ModelPart.UNet, [found]) : null;
        }

        if (NamePairs.Behind(VaePrefix, name) is { } inVae)
        {
            return vae.ToDiffusers(inVae) is { } found ? (ModelPart.Vae, [found]) : null;
        }

        if (NamePairs.Behind(ClipPrefix, name) is { } inClip)
        {
            return IgnoredAs(name) is not null ? null
                : (ModelPart.TextEncoder, [inClip.StartsWith(TextModel, StringComparison.Ordinal) ? inClip : TextModel + inClip]);
        }

        return (NamePairs.Behind(OpenClipPrefix, name) ?? NamePairs.Behind(GenerativeModelsPrefix, name)) is { } inOpenClip
            && OpenClipNames.ToDiffusers(inOpenClip) is { } names ? (ModelPart.TextEncoder, names) : null;
    }

    /// <summary>The same for a file of one component alone, whose names may lack the prefix or be diffusers' already.</summary>
    public string[]? ToDiffusers(ModelPart part, string name)
    {
        if (ToDiffusers(name) is { } prefixed)
        {
            return prefixed.Part == part ? prefixed.Names : null;
        }

        string[] roots = part switch
        {
            ModelPart.TextEncoder => [TextModel],
            ModelPart.UNet => ["conv_in.", "time_embedding.", "down_blocks.", "mid_block.", "up_blocks.", "conv_norm_out.", "conv_out."],
            _ => ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."],
        };
        var original = part switch
        {
            ModelPart.TextEncoder =>
                NamePairs.Behind("transformer.text_model.", name) is { } inText ? [TextModel + inText] : OpenClipNames.ToDiffusers(name),
            ModelPart.UNet => unet.ToDiffusers(name) is { } found ? [found] : null,
            _ => vae.ToDiffusers(name) is { } found ? [found] : null,
        };
        return original ?? (roots.Any(r => name.StartsWith(r, StringComparison.Ordinal)) ? [name] : null);
    }

    /// <summary>The single file's name of the tensor that holds one in diffusers' naming.</summary>
    /// <exception cref="StableDiffusionException">The original naming has none.</exception>
    public string ToOriginal(ModelPart part, string name, bool openClip)
    {
        var original = part switch
        {
            ModelPart.UNet => Prefixed(UNetPrefix, unet.ToOriginal(name)),
            ModelPart.Vae => Prefixed(VaePrefix, vae.ToOriginal(name)),
            _ when openClip => Prefixed(OpenClipPrefix, OpenClipNames.ToOriginal(name)),
            _ => name.StartsWith(TextModel, StringComparison.Ordinal) ? ClipPrefix + name : null,
        };
        return original ?? throw new StableDiffusionException(
            $"{DiffusersFolder.FolderOf(part)}: tensor {name} has no name in a single file");

        static string? Prefixed(string prefix, string? name) => name is null ? null : prefix + name;
    }

    /// <summary>Whether a stored name is OpenCLIP's, whose last layer Stable Diffusion does not use.</summary>
    public static bool IsOpenClip(string name) => name.Contains("transformer.resblocks.", StringComparison.Ordinal);

    /// <summary>Whether a stored name is in the form that SD-Turbo's single file has.</summary>
    public static bool IsGenerativeModels(string name) => name.StartsWith(GenerativeModelsPrefix, StringComparison.Ordinal);

    /// <summary>The pattern of names without use that a stored name belongs to; null where it belongs to none.</summary>
    public static string? IgnoredAs(string name) => Match(IgnoredPatterns, name);

    /// <summary>The same in a file of one component alone.</summary>
    public static string? IgnoredAs(ModelPart part, string name) =>
        Match(IgnoredPatterns, name) ?? (part == ModelPart.TextEncoder ? Match(IgnoredBesideText, name) : null);

    private static string? Match(string[] patterns, string name) => patterns.FirstOrDefault(
        p => p.EndsWith('*') ? name.StartsWith(p.AsSpan(0, p.Length - 1), StringComparison.Ordinal) : p == name);
}
