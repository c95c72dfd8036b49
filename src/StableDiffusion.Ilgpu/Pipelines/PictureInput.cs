using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu;

/// <summary>The picture and the mask of a request, in the size that is drawn.</summary>
internal sealed class PictureInput
{
    private readonly GenerationRequest request;
    private readonly InputImage picture;
    private readonly float[]? mask;

    private PictureInput(GenerationRequest request, InputImage original, int width, int height)
    {
        this.request = request;
        picture = PictureFit.Fit(original, width, height, request.ResizeMode);
        mask = request.Mask is null ? null
            : PictureMask.Of(request.Mask, original, width, height, request.ResizeMode, request.InvertMask, request.MaskBlur);
    }

    /// <summary>Null where a request begins with noise.</summary>
    /// <exception cref="StableDiffusionException">The model needs a picture, or cannot use this one.</exception>
    public static PictureInput? Create(GenerationRequest request, LoadedModel model, int width, int height)
    {
        if (model.IsInpainting && request.Mask is null)
        {
            throw new StableDiffusionException(
                $"{model.Name}: is an inpainting model (its UNet takes {model.UNetConfig.InChannels} channels); "
                + "it needs a picture and a mask beside the prompt");
        }

        return request.InitImage is { } image ? new PictureInput(request, image, width, height) : null;
    }

    public PictureStart Encode<T>(PictureEncoder<T> encoder, LoadedModel model, CancellationToken cancellationToken) where T : unmanaged =>
        PictureStart.Create(
            values => encoder.Encode(values, picture.Height, picture.Width, cancellationToken), model, PixelBytes.ToFloats(picture.Pixels.Span), mask,
            picture.Height, picture.Width, request.FirstStep, request.MeanLatent);

    /// <summary>What was drawn, with the unmasked pixels as they came.</summary>
    public byte[] Finish(byte[] drawn) => mask is null ? drawn : PictureMask.Composite(picture, drawn, mask).Pixels.ToArray();
}
