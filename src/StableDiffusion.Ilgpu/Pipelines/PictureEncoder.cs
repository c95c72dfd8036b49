using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// Makes latents of pictures, in tiles where the request asks for them or the whole would not fit in the device's memory. As with
/// <see cref="LatentDecoder{T}"/> tiles are not exact. What is blended is the distribution: means, and logarithms of variances.
/// </summary>
internal sealed class PictureEncoder<T>(DiffusionEngine<T> engine, LoadedModel model, GenerationRequest request) where T : unmanaged
{
    /// <summary>The bytes of a picture, rows of R, G, B, to what the autoencoder makes of them.</summary>
    public PictureLatent Encode(InputImage picture, CancellationToken cancellationToken) =>
        Encode(PixelBytes.ToFloats(picture.Pixels.Span), picture.Height, picture.Width, cancellationToken);

    /// <summary>A picture, channels last, -1 … 1.</summary>
    public PictureLatent Encode(ReadOnlySpan<float> picture, int height, int width, CancellationToken cancellationToken)
    {
        var scale = model.VaeConfig.PixelsPerLatent;
        var (rows, columns) = (height / scale, width / scale);
        if (!VaeTiles.AreNeeded(request, rows, columns, () => engine.MeasureEncoder(height, width), () => engine.ArenaBudget(ModelPart.Vae)))
        {
            return engine.EncodePicture(picture, height, width, request.Circular, cancellationToken);
        }

        var grid = VaeTiles.Grid(request, rows, columns);
        var moments = grid.Apply(picture, scale, 1, tile =>
        {
            var latent = engine.EncodePicture(tile, grid.Rows.Length * scale, grid.Columns.Length * scale, cancellationToken: cancellationToken);
            return Layout.ToChannelsLast(latent.Moments, latent.Moments.Length / (grid.Rows.Length * grid.Columns.Length), grid.Rows.Length * grid.Columns.Length);
        });
        return new PictureLatent(
            Layout.ToChannelsFirst(moments, moments.Length / (rows * columns), rows * columns), model.VaeConfig.LatentChannels * rows * columns,
            model.LatentScale);
    }
}
