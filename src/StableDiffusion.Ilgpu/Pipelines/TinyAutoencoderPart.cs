using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>A TAESD file that takes the place of a model's autoencoder.</summary>
internal sealed record TinyAutoencoderPart(string Path, TinyAutoencoderConfig Config)
{
    /// <param name="path">The file.</param>
    /// <param name="replaced">The autoencoder whose latents it has to read.</param>
    /// <exception cref="StableDiffusionException">The file is not a TAESD's, or reads other latents.</exception>
    public static TinyAutoencoderPart Open(string path, AutoencoderKlConfig replaced)
    {
        // The first layer is (channels, latent channels, 3, 3).
        using var source = TinyAutoencoderFile.Open(path);
        var shape = source.Tensors[TinyAutoencoderFile.FirstOfDecoder].Shape;
        var part = shape is [> 0 and <= int.MaxValue, > 0 and <= int.MaxValue, 3, 3]
            ? new TinyAutoencoderPart(path, new TinyAutoencoderConfig((int)shape[1], (int)shape[0]))
            : throw new StableDiffusionException(
                $"{path}: its first layer's weight has shape [{string.Join(", ", shape)}], not that of a 3x3 convolution");
        if (part.Config.LatentChannels != replaced.LatentChannels || replaced.PixelsPerLatent != TinyAutoencoderConfig.PixelsPerLatent)
        {
            throw new StableDiffusionException(
                $"{path}: reads latents of {part.Config.LatentChannels} channels and {TinyAutoencoderConfig.PixelsPerLatent} pixels, "
                + $"the model's have {replaced.LatentChannels} channels and {replaced.PixelsPerLatent} pixels");
        }

        part.OpenWeights().Dispose();
        return part;
    }

    /// <summary>The weights of the decoder, or of the encoder, checked. The caller disposes the result.</summary>
    /// <exception cref="StableDiffusionException">They are not there, or not of the right shapes.</exception>
    public IWeightSource OpenWeights(bool encoder = false)
    {
        var source = TinyAutoencoderFile.Open(Path);
        if (encoder && !source.Tensors.Keys.Any(TinyAutoencoder.IsEncoderWeight))
        {
            using (source)
            {
                throw new StableDiffusionException($"{Path}: holds a TAESD decoder and no encoder, which {LoadedModel.NeedForEncoder}");
            }
        }

        const int Size = TinyAutoencoderConfig.PixelsPerLatent;
        var declared = (encoder ? TinyAutoencoder.RecordEncoder(Config, 1, Size, Size) : TinyAutoencoder.RecordDecoder(Config, 1, 1, 1)).Weights;
        return WeightCheck.Checked(
            source, declared.Select(w => new TensorInfo(w.Name, TensorType.F16, w.Shape)),
            encoder ? TinyAutoencoder.IsDecoderWeight : TinyAutoencoder.IsEncoderWeight);
    }
}
