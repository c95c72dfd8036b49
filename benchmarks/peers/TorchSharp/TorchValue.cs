using Tensor = TorchSharp.torch.Tensor;

namespace StableDiffusion.Ilgpu.Peers.Torch;

/// <summary>A value as torch has it.</summary>
/// <param name="Tensor">A picture (N, C, H, W), in either layout; or rows (N, H W, C).</param>
/// <param name="IsPicture">Which of the two.</param>
internal sealed record TorchValue(Tensor Tensor, bool IsPicture) : IDisposable
{
    public void Dispose() => Tensor.Dispose();
}
