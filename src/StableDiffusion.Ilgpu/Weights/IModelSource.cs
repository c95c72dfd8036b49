using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>The components of a model that hold weights; diffusers' folders are text_encoder, unet and vae.</summary>
internal enum ModelPart { TextEncoder, UNet, Vae }

/// <summary>A model as it is stored: configurations and weights of its components, whatever the layout.</summary>
internal interface IModelSource : IDisposable
{
    /// <summary>What messages call the model: usually the folder's or the file's path.</summary>
    string Description { get; }

    /// <summary>The name that a picture's metadata carry: the file's name without extension, or the folder's name.</summary>
    string Name { get; }

    /// <summary>
    /// SHA-256 of the single file, or of the UNet's weight file, 64 hex digits; null where there is no such file (synthetic
    /// weights, a UNet in several files). Computed when first asked for.
    /// </summary>
    string? Sha256 { get; }

    /// <summary>The form that AUTOMATIC1111's web UI writes into pictures: the first digits.</summary>
    string? ShortHash => Sha256?[..FileHash.ModelDigits];

    /// <summary>SHA-256 of the file that the options give for the autoencoder, 64 hex digits; null without one. Computed each time.</summary>
    string? VaeSha256 => null;

    /// <summary>The layout, for people to read.</summary>
    string Layout { get; }

    /// <summary>What is stored but not used, by name or pattern of names, for people to read.</summary>
    IReadOnlyList<string> Ignored { get; }

    /// <summary>A component's configuration in diffusers' terms; <see cref="ConfigDescription"/> is what messages call it.</summary>
    JsonElement Config(ModelPart part);

    string ConfigDescription(ModelPart part);

    /// <summary>diffusers' scheduler configuration; an empty object where the model has none.</summary>
    JsonElement SchedulerConfig { get; }

    string SchedulerConfigDescription { get; }

    /// <summary>The model's own tokenizer files, or null where it has none (the built-in table serves then).</summary>
    TokenizerFiles? Tokenizer { get; }

    /// <summary>Opens a component's weights. The caller disposes the result.</summary>
    /// <param name="part">Which component.</param>
    /// <param name="declared">
    /// The tensors that the component's graph declares. Synthetic weights have no list of their own: they hold exactly these. A stored
    /// model holds what its files hold, whatever is declared; <see cref="WeightCheck.Require"/> compares the two.
    /// </param>
    IWeightSource Open(ModelPart part, IReadOnlyList<TensorInfo> declared);
}

/// <summary>
/// A tokenizer folder. The two paths are null together; <paramref name="PadToken"/> is the text of the padding token, null where no
/// configuration names one (CLIP's end-of-text token serves then); <paramref name="Added"/> is null where no tokens are listed.
/// </summary>
internal sealed record TokenizerFiles(string? VocabularyPath, string? MergesPath, string? PadToken, AddedTokens? Added = null);
